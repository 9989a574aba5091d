"""Ticks made of bars.

Inside a bar the path is open, then the extreme nearer to the open, then the other extreme, then close, at the bar's
start, one third, two thirds and one second before its end; the ask is the bid plus the bar's spread.
"""

from __future__ import annotations

import numpy as np

from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.simulated.market.series import Series
from mt5_bridge.simulated.market.synthetic import tick_flags
from mt5_bridge.structs import TICKS_DTYPE

KEEP_MSC = 3 * 86_400_000
"""Ticks older than this are forgotten while bars are replayed; the bars themselves stay."""
_BLOCK = 1440


def ticks_of_bars(bars: Array, step: int, point: float) -> Array:
    """Four ticks for each bar of `step` seconds, along the path that the module describes."""
    count = len(bars)
    low_first = bars["open"] - bars["low"] <= bars["high"] - bars["open"]
    bid = np.empty((count, 4))
    bid[:, 0] = bars["open"]
    bid[:, 1] = np.where(low_first, bars["low"], bars["high"])
    bid[:, 2] = np.where(low_first, bars["high"], bars["low"])
    bid[:, 3] = bars["close"]
    offsets = np.array([0, step * 1000 // 3, step * 2000 // 3, step * 1000 - 1000])
    ticks = np.zeros(count * 4, TICKS_DTYPE)
    ticks["time_msc"] = (bars["time"][:, None] * 1000 + offsets).ravel()
    ticks["time"] = ticks["time_msc"] // 1000
    ticks["bid"] = bid.ravel()
    # Through whole points, so that the ask is the nearest float to its decimal form, as the bid is.
    points = np.rint(ticks["bid"] / point) + np.repeat(np.maximum(bars["spread"], 0), 4)
    ticks["ask"] = points / round(1 / point)
    ticks["flags"] = tick_flags(ticks["bid"], ticks["ask"])
    keep = ticks["flags"] != 0
    keep[::4] = True  # a bar's first tick opens its minute even when the price stands still
    ticks["flags"] = np.where(ticks["flags"] == 0, np.uint32(130), ticks["flags"])
    return np.asarray(ticks[keep])


class BarTicks:
    """Makes the ticks of one symbol's bars, a block at a time, shortly before they are needed."""

    def __init__(self, bars: Array, opens: Array, step: int, point: float) -> None:
        self._bars = bars
        self._opens = opens
        self._step = step
        self._point = point
        self._next = 0

    def begin(self, begin_msc: int) -> None:
        """Leave out what would be forgotten at `begin_msc` already."""
        self._next = int(np.searchsorted(self._opens, (begin_msc - KEEP_MSC) // 1000))

    def extend(self, series: Series, until_msc: int) -> None:
        """Give the series all ticks up to `until_msc` and the next one after it."""
        while self._next < len(self._bars) and (
            series.next_time_msc is None or int(self._opens[self._next]) * 1000 <= until_msc
        ):
            stop = self._next + _BLOCK
            series.extend(self.block(self._next, stop), keep_ticks_from_msc=until_msc - KEEP_MSC)
            series.has_read(_BLOCK)
            self._next = stop

    def block(self, start: int, stop: int) -> Array:
        """The ticks of the bars from `start` to `stop`, the same however the bars are cut into blocks."""
        before = max(0, start - 1)  # flags tell what changed since the bar before
        ticks = ticks_of_bars(self._bars[before:stop], self._step, self._point)
        return ticks[np.searchsorted(ticks["time_msc"], int(self._opens[start]) * 1000) :]

    def blocks(self, size: int = _BLOCK) -> list[tuple[int, int]]:
        """Bounds of consecutive blocks of all bars."""
        return [(start, start + size) for start in range(0, len(self._bars), size)]
