"""Where the agent gets the time from; decision code takes a `Clock`, so tests can turn it by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from mt5_bridge.lease import Moment, read_clocks

Clock = Callable[[], float]
"""Seconds since 1970, UTC."""

system_clock: Clock = time.time


class SteadyClock:
    """Seconds since 1970 as they were known when the machine's time base began, moved on by the machine's own count.

    Nobody who sets the wall clock can make a back-off longer or shorter. What is shown to people is `dated` by the wall
    clock of the moment.
    """

    def __init__(self, offset: float, clocks: Callable[[], Moment] = read_clocks) -> None:
        """`offset` is what `Moment.elapsed` lacks to seconds since 1970."""
        self._offset = offset
        self._clocks = clocks

    def __call__(self) -> float:
        return self._clocks().elapsed + self._offset

    def dated(self, moment: float) -> datetime:
        """UTC-aware datetime of a reading of this clock, by the wall clock of now."""
        now = self._clocks()
        return as_datetime(now.wall - (now.elapsed + self._offset - moment))


def as_datetime(seconds: float) -> datetime:
    """UTC-aware datetime of `seconds` since 1970."""
    return datetime.fromtimestamp(seconds, UTC)
