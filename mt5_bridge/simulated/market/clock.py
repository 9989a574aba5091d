"""Market time as a function of wall time."""

from __future__ import annotations

import math

FASTEST = math.inf
"""The speed of a market that runs as fast as its ticks can be worked off."""
MAX_STRIDE_MSC = 86_400_000
_MIN_STRIDE_MSC = 1000
_SHORT_SECONDS, _LONG_SECONDS = 0.02, 0.08


class MarketClock:
    """Maps a monotonic wall clock (seconds) to market time (broker clock, ms since 1970).

    It holds no clock of its own: the caller passes the wall time, so tests and backtests decide how time runs. `speed`
    is market seconds in a second, or FASTEST. A paused clock stands still.
    """

    def __init__(self, market_msc: int, speed: float, wall: float, *, paused: bool = False) -> None:
        self._market_msc = market_msc
        self._wall = wall
        self._speed = _checked(speed)
        self._paused = paused
        self._stride_msc = _MIN_STRIDE_MSC
        self._strode_at = wall

    @property
    def speed(self) -> float:
        """Market seconds in a second, or FASTEST."""
        return self._speed

    @property
    def paused(self) -> bool:
        """Whether market time stands still."""
        return self._paused

    def now(self, wall: float) -> int:
        """Market time at the wall time `wall`; at the speed FASTEST that of the last stride."""
        if self._paused or self._speed == FASTEST:
            return self._market_msc
        return self._market_msc + int((wall - self._wall) * 1000.0 * self._speed)

    def stride(self, wall: float, from_msc: int) -> int:
        """The time up to which the market that has come to `from_msc` is to be moved now.

        Never more than a day at once: a market that cannot keep up falls behind. At the speed FASTEST the strides
        become as long as can be worked off between two requests of clients.
        """
        target = self._fastest(wall) if self._speed == FASTEST and not self._paused else self.now(wall)
        if target > from_msc + MAX_STRIDE_MSC:
            target = from_msc + MAX_STRIDE_MSC
            self.jump(target, wall)
        return target

    def _fastest(self, wall: float) -> int:
        took, self._strode_at = wall - self._strode_at, wall
        if took < _SHORT_SECONDS:
            self._stride_msc = min(self._stride_msc * 2, MAX_STRIDE_MSC)
        elif took > _LONG_SECONDS:
            self._stride_msc = max(self._stride_msc // 2, _MIN_STRIDE_MSC)
        self._market_msc += self._stride_msc
        return self._market_msc

    def jump(self, market_msc: int, wall: float) -> None:
        """From `wall` on, market time continues from `market_msc`."""
        self._market_msc = market_msc
        self._wall = wall

    def pause(self, wall: float) -> None:
        """Stand still from `wall` on."""
        self.jump(self.now(wall), wall)
        self._paused = True

    def resume(self, wall: float) -> None:
        """Go on from `wall` on."""
        self.jump(self.now(wall), wall)
        self._paused = False

    def set_speed(self, speed: float, wall: float) -> None:
        """Run at another speed from `wall` on. Raises ValueError if it is not above 0."""
        checked = _checked(speed)
        self.jump(self.now(wall), wall)
        self._speed = checked


def _checked(speed: float) -> float:
    if not speed > 0:
        raise ValueError("speed must be positive")
    return speed
