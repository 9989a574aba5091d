"""Since when somebody has listened to the nodes without a gap."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import structlog

from control_plane.clock import Clock

_log = structlog.get_logger(__name__)


class Listening:
    """Shared by the loops that judge silence. A gap is a pause of this process, or a clock that was set forward."""

    def __init__(self, clock: Clock, longest_pause: timedelta) -> None:
        self._clock = clock
        self._longest_pause = longest_pause
        self._lock = threading.Lock()
        self._last = clock.now()
        self.since = self._last
        """Silence before this moment proves nothing."""

    def tick(self) -> datetime:
        """To be called in every round, before judging. Returns the present time."""
        with self._lock:  # otherwise a loop that is held up between the two lines makes a pause that was none
            now = self._clock.now()
            pause, self._last = now - self._last, now
            if pause > self._longest_pause:
                self.since = now
        if pause > self._longest_pause:
            _log.warning("nobody_listened", seconds=round(pause.total_seconds(), 1))
        return now
