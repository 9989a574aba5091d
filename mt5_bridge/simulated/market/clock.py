"""Market time as a function of wall time."""

from __future__ import annotations


class MarketClock:
    """Maps a monotonic wall clock (seconds) to market time (broker clock, ms since 1970).

    It holds no clock of its own: the caller passes the wall time, so tests and backtests decide how time runs.
    """

    def __init__(self, market_msc: int, speed: float, wall: float) -> None:
        if speed <= 0:
            raise ValueError("speed must be positive")
        self.speed = speed
        self._market_msc = market_msc
        self._wall = wall

    def now(self, wall: float) -> int:
        """Market time at the wall time `wall`."""
        return self._market_msc + int((wall - self._wall) * 1000.0 * self.speed)

    def jump(self, market_msc: int, wall: float) -> None:
        """From `wall` on, market time continues from `market_msc`."""
        self._market_msc = market_msc
        self._wall = wall

    def wall_until(self, market_msc: int, wall: float) -> float:
        """Wall seconds from `wall` until market time reaches `market_msc`; not negative."""
        return max(0.0, (market_msc - self.now(wall)) / (1000.0 * self.speed))
