"""The one thread that may touch the terminal's API, with a bounded queue and a deadline for every call.

The official package is not thread-safe and holds the interpreter while it waits, so a call that hangs cannot be
cancelled: the process must go and its supervisor starts another one.

With a SessionLoop the thread serves the sessions between jobs, and what it calls for them needs no other thread.
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
from functools import partial
from typing import Any, Final, TypeVar

from mt5_bridge.call_times import CallTimes
from mt5_bridge.sessions import SessionLoop

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
        loop: SessionLoop | None = None,
    ) -> None:
        self._on_wedged = on_wedged
        self._clock = clock
        self._watch_interval = watch_interval
        self._queue: queue.Queue[_Job | None] = queue.Queue(queue_limit)
        self._running: tuple[str, float, float] | None = None  # label, deadline, since when
        self._loop = loop
        self._stopping = False
        self._stopped = threading.Event()
        self._ident: int | None = None
        self._thread = threading.Thread(target=self._work, name="terminal-api", daemon=True)
        self._watchdog = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self.calls = 0
        self.times = CallTimes()

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
        self._wake()
        self._thread.join(timeout)
        self._stopped.set()
        return not self._thread.is_alive()

    def run(self, label: str, deadline: float, work: Callable[..., T], *arguments: Any) -> T:
        """Run `work` on the thread and give its result or exception.

        `deadline` (seconds) bounds the wait in the queue and, separately, the run. Raises BusyError or DeadlineError
        when nothing was done.
        """
        if threading.get_ident() == self._ident:
            return self.run_here(label, deadline, work, *arguments)
        future: Future[T] = Future()
        job = _Job(partial(work, *arguments), deadline, label, future)
        if self._stopping:
            raise BusyError(label)
        try:
            self._queue.put_nowait(job)
        except queue.Full as error:
            raise BusyError(label) from error
        self._wake()
        try:
            return future.result(deadline)
        except FutureTimeoutError as error:
            if future.done():
                return future.result()  # finished just now, or the work itself raised a TimeoutError
            if future.cancel():
                raise DeadlineError(label) from error
        # It is running: it ends, or the watchdog ends the process.
        return future.result()

    def run_here(self, label: str, deadline: float, work: Callable[..., T], *arguments: Any) -> T:
        """Run `work` on this thread, which is the one; meanwhile others may serve the sessions."""
        loop = self._loop
        self._running = (label, deadline, self._clock())
        self.calls += 1
        if loop is not None:
            loop.leave()
        try:
            return work(*arguments)
        finally:
            running, self._running = self._running, None
            if running is not None:
                self.times.add(self._clock() - running[2])
            if loop is not None:
                loop.enter()

    def _wake(self) -> None:
        if self._loop is not None:
            self._loop.wake()

    def _work(self) -> None:
        self._ident = threading.get_ident()
        if self._loop is not None:
            self._loop.enter()
        while (job := self._next()) is not None:
            if not job.future.set_running_or_notify_cancel():
                continue
            try:
                result = self.run(job.label, job.deadline, job.work)
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                job.future.set_exception(error)
            else:
                job.future.set_result(result)
        if self._loop is not None:
            self._loop.leave()

    def _next(self) -> _Job | None:
        """The next job, None for the end. Serves sessions while there is none."""
        if self._loop is None:
            return self._queue.get()
        waiting, serve = self._queue.queue, self._loop.serve
        while not waiting:
            serve()
        return self._queue.get()

    def _watch(self) -> None:
        seen: tuple[str, float, float] | None = None
        while not self._stopped.wait(self._watch_interval):
            running = self._running
            if running is None:
                continue
            label, deadline, _ = running
            if self._overdue(running):
                log.critical("%s has not come back for %.0f s", label, deadline)
                self._on_wedged(label)
                return
            if running is seen and self._loop is not None:
                self._loop.stand_in(partial(self._changed, running))
            seen = running

    def _overdue(self, running: tuple[str, float, float]) -> bool:
        return self._clock() - running[2] > running[1]

    def _changed(self, running: tuple[str, float, float]) -> bool:
        """Whether the job that ran is over, or has been running for too long."""
        return self._running is not running or self._stopped.is_set() or self._overdue(running)
