"""Since when somebody has listened to the nodes without a gap."""

from __future__ import annotations

from datetime import datetime, timedelta

from control_plane.clock import Clock


class Listening:
    """Shared by the loops that judge silence. A gap is a pause of this process, or a clock that was set forward."""

    def __init__(self, clock: Clock, longest_pause: timedelta) -> None:
        self._clock = clock
        self._longest_pause = longest_pause
        self._last = clock.now()
        self.since = self._last
        """Silence before this moment proves nothing."""

    def tick(self) -> datetime:
        """To be called in every round, before judging. Returns the present time."""
        now = self._clock.now()
        if now - self._last > self._longest_pause:
            self.since = now
        self._last = now
        return now
