"""Background threads that do one thing again and again, and a watch that tells when one of them stands still."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence

import structlog

PATIENCE_SECONDS = 60.0
"""A round may take so long before its loop counts as late."""
_SHOWN_FRAMES = 12
_log = structlog.get_logger(__name__)


class Loop:
    """Calls `step` every `seconds`, and at once after `wake`. An error is logged and does not end the loop.

    Rounds take at most `most_share` of the time: after a long one the loop rests in proportion, so that what looks at
    everything there is does not take the processor away from what people wait for. `now` gives seconds of a clock that
    never jumps.
    """

    def __init__(
        self,
        name: str,
        seconds: float,
        step: Callable[[], None],
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        most_share: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.seconds = seconds
        self.step = step
        self.patience_seconds = patience_seconds
        self._most_share = most_share
        self._rest_seconds = seconds
        self._now = now
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._finished_at: float | None = None
        self.round_ended_at: float | None = None
        """When the last round without an error ended; the start before there is one, None before that."""

    def start(self) -> None:
        self._finished_at = self.round_ended_at = self._now()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self, timeout_seconds: float) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def late_by(self) -> float:
        """Seconds by which its round is overdue, be it for a call that hangs or a dead thread; 0 when in time."""
        if self._finished_at is None or self._stopping:
            return 0.0
        return max(0.0, self._now() - self._finished_at - self._rest_seconds - self.patience_seconds)

    def stands_at(self) -> str:
        """The innermost calls of its thread, for the log; empty when the thread has ended."""
        thread = self._thread
        frame = None if thread is None or thread.ident is None else sys._current_frames().get(thread.ident)
        if frame is None or thread is None or not thread.is_alive():
            return ""
        return "".join(traceback.format_stack(frame)[-_SHOWN_FRAMES:])

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            began_at = self._now()
            try:
                self.step()
                self.round_ended_at = self._now()
            except Exception:  # noqa: BLE001 - one failed round must not end the loop; it is logged with its trace
                _log.exception("loop_failed", loop=self.name)
            self._finished_at = self._now()
            took = self._finished_at - began_at
            self._rest_seconds = max(self.seconds, took / self._most_share - took)
            if not self._stopping:
                self._wake.wait(self._rest_seconds)


class LoopWatch:
    """Says once when a loop is late, with what it is doing, and once when it goes on."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self._loops = loops
        self._told: set[str] = set()

    def run_once(self) -> None:
        late = {loop.name: loop for loop in self._loops if loop.late_by() > 0}
        for name in late.keys() - self._told:
            loop = late[name]
            _log.error("loop_stands_still", loop=name, late_by_seconds=round(loop.late_by()), at=loop.stands_at())
        for name in self._told - late.keys():
            _log.warning("loop_goes_on", loop=name)
        self._told = set(late)
