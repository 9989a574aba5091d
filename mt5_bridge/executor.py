"""The one thread that may touch the terminal's API, with a bounded queue and a deadline for every call.

The official package is not thread-safe and holds the interpreter while it waits, so a call that hangs cannot be
cancelled: the process must go and its supervisor starts another one.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any, Final, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

QUEUE_LIMIT: Final = 256
WEDGED_EXIT_CODE: Final = 70


class BusyError(Exception):
    """The queue is full; nothing was done."""


class DeadlineError(Exception):
    """The call waited in the queue for too long; nothing was done."""


@dataclass
class _Job:
    work: Callable[[], Any]
    deadline: float
    label: str
    future: Future[Any]


class Executor:
    """Runs jobs one after another on its own thread.

    `on_wedged` is called from the watchdog when a job has run past its deadline; in a worker it ends the process.
    """

    def __init__(
        self,
        on_wedged: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        queue_limit: int = QUEUE_LIMIT,
        watch_interval: float = 0.25,
    ) -> None:
        self._on_wedged = on_wedged
        self._clock = clock
        self._watch_interval = watch_interval
        self._queue: queue.Queue[_Job | None] = queue.Queue(queue_limit)
        self._running: tuple[_Job, float] | None = None
        self._stopping = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="terminal-api", daemon=True)
        self._watchdog = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self.calls = 0

    def start(self) -> None:
        """Start both threads."""
        self._thread.start()
        self._watchdog.start()

    def stop(self, timeout: float) -> bool:
        """Finish what is queued, take nothing more, and stop; False when that took longer than `timeout` seconds."""
        self._stopping = True
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return False
        self._thread.join(timeout)
        self._stopped.set()
        return not self._thread.is_alive()

    def run(self, label: str, deadline: float, work: Callable[[], T]) -> T:
        """Run `work` on the thread and give its result or exception.

        `deadline` (seconds) bounds the wait in the queue and, separately, the run. Raises BusyError or DeadlineError
        when nothing was done.
        """
        future: Future[T] = Future()
        job = _Job(work, deadline, label, future)
        if self._stopping:
            raise BusyError(label)
        try:
            self._queue.put_nowait(job)
        except queue.Full as error:
            raise BusyError(label) from error
        try:
            return future.result(deadline)
        except FutureTimeoutError as error:
            if future.done():
                return future.result()  # finished just now, or the work itself raised a TimeoutError
            if future.cancel():
                raise DeadlineError(label) from error
        # It is running: it ends, or the watchdog ends the process.
        return future.result()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            if not job.future.set_running_or_notify_cancel():
                continue
            self._running = (job, self._clock())
            self.calls += 1
            try:
                result = job.work()
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                job.future.set_exception(error)
            else:
                job.future.set_result(result)
            finally:
                self._running = None

    def _watch(self) -> None:
        while not self._stopped.wait(self._watch_interval):
            running = self._running
            if running is None:
                continue
            job, since = running
            if self._clock() - since > job.deadline:
                log.critical("%s has not come back for %.0f s", job.label, job.deadline)
                self._on_wedged(job.label)
                return
