"""Ticks of one symbol cut into stretches, so that whoever only looks at their ends steps over many at once."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from mt5_bridge.simulated.engine.model import Quote
from mt5_bridge.simulated.engine.triggers import NO_LEVELS, Levels
from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.structs import Tick, unchecked

_FIRST_PIECE = 32


class Stretches:
    """The bounds of the prices in each stretch, and its last tick."""

    def __init__(self, ticks: Array, stops: Array) -> None:
        """`ticks` in order of time; `stops` are the numbers after the last tick of each stretch, ascending."""
        self._ticks = ticks
        self._stops = stops
        self._starts = np.concatenate(([0], stops[:-1]))
        bids, asks = np.ascontiguousarray(ticks["bid"]), np.ascontiguousarray(ticks["ask"])
        self._bounds = tuple(
            edge.reduceat(one, self._starts) for one in (bids, asks) for edge in (np.minimum, np.maximum)
        )
        low_bid, high_bid, low_ask, high_ask = self._bounds
        self._whole = (float(low_bid.min()), float(high_bid.max()), float(low_ask.min()), float(high_ask.max()))
        ends = stops - 1
        self.bids, self.asks = bids[ends], asks[ends]
        self.times = np.ascontiguousarray(ticks["time_msc"][ends])
        self._time_list: list[int] = self.times.tolist()

    def __len__(self) -> int:
        return len(self._time_list)

    def ticks(self, number: int) -> Array:
        """The ticks of one stretch."""
        return self._ticks[self._starts[number] : self._stops[number]]

    def last(self, number: int) -> Quote:
        """The last tick of a stretch."""
        tick = unchecked(Tick, self._ticks[self._stops[number] - 1].item())
        return Quote(tick.bid, tick.ask, tick.time_msc, tick.last)

    def calm_until(self, levels: Levels, moment: float, start: int, stop: int) -> int:
        """The first stretch from `start` on that comes to the moment (ms) or reaches one of the levels, else `stop`."""
        stop = bisect_left(self._time_list, moment, start, stop)
        if levels is NO_LEVELS or self._is_inside(levels):
            return stop
        size = _FIRST_PIECE
        while start < stop:
            piece = slice(start, min(start + size, stop))
            low_bid, high_bid, low_ask, high_ask = (bound[piece] for bound in self._bounds)
            calm = (levels.bid_low < low_bid) & (high_bid < levels.bid_high)
            calm &= (levels.ask_low < low_ask) & (high_ask < levels.ask_high)
            if not calm.all():
                return start + int(calm.argmin())
            start, size = piece.stop, size * 4
        return stop

    def _is_inside(self, levels: Levels) -> bool:
        """Whether no tick of any stretch reaches one of the levels."""
        low_bid, high_bid, low_ask, high_ask = self._whole
        return (
            levels.bid_low < low_bid
            and high_bid < levels.bid_high
            and levels.ask_low < low_ask
            and high_ask < levels.ask_high
        )
