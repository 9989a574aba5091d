"""A background thread that does one thing again and again, sooner when it is woken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

_log = structlog.get_logger(__name__)


class Loop:
    """Calls `step` every `seconds`, and at once after `wake`. An error is logged and does not end the loop."""

    def __init__(self, name: str, seconds: float, step: Callable[[], None]) -> None:
        self.name = name
        self.seconds = seconds
        self.step = step
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.round_ended_at: float | None = None
        """Monotonic seconds of the last round without an error; of the start before there is one, None before that."""

    def start(self) -> None:
        self.round_ended_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self, timeout_seconds: float) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                self.step()
                self.round_ended_at = time.monotonic()
            except Exception:  # noqa: BLE001 - one failed round must not end the loop; it is logged with its trace
                _log.exception("loop_failed", loop=self.name)
            if not self._stopping:
                self._wake.wait(self.seconds)
