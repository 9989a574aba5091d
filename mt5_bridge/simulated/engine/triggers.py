"""Price levels at which something happens, and finding the first tick of a batch that reaches one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mt5_bridge.simulated.engine.model import Kind, Order, Position, Quote, Reason
from mt5_bridge.simulated.market.bars import Array


class Levels(NamedTuple):
    """A symbol's nearest levels: something happens when bid or ask is at or below a low, at or above a high one."""

    bid_low: float = -math.inf
    bid_high: float = math.inf
    ask_low: float = -math.inf
    ask_high: float = math.inf


NO_LEVELS = Levels()


def levels_of(positions: Iterable[Position], orders: Iterable[Order]) -> Levels:
    """The nearest levels of open positions (rule R8) and pending orders (rule N2)."""
    bid_low, bid_high, ask_low, ask_high = NO_LEVELS
    for position in positions:
        if position.buy:
            bid_low = max(bid_low, position.sl or -math.inf)
            bid_high = min(bid_high, position.tp or math.inf)
        else:
            ask_high = min(ask_high, position.sl or math.inf)
            ask_low = max(ask_low, position.tp or -math.inf)
    for order in orders:
        match order.kind:
            case Kind.BUY_LIMIT:
                ask_low = max(ask_low, order.price)
            case Kind.SELL_LIMIT:
                bid_high = min(bid_high, order.price)
            case Kind.BUY_STOP | Kind.BUY_STOP_LIMIT:
                ask_high = min(ask_high, order.price)
            case Kind.SELL_STOP | Kind.SELL_STOP_LIMIT:
                bid_low = max(bid_low, order.price)
    return Levels(bid_low, bid_high, ask_low, ask_high)


def stop_reason(position: Position, quote: Quote) -> Reason | None:
    """Whether the position's SL or TP is reached (rule R8)."""
    if position.buy:
        if position.sl and quote.bid <= position.sl:
            return Reason.SL
        return Reason.TP if position.tp and quote.bid >= position.tp else None
    if position.sl and quote.ask >= position.sl:
        return Reason.SL
    return Reason.TP if position.tp and quote.ask <= position.tp else None


def is_reached(order: Order, quote: Quote) -> bool:
    """Whether a pending order's price is reached (rule N2)."""
    market = quote.ask if order.kind.is_buy else quote.bid
    if order.kind in (Kind.BUY_LIMIT, Kind.SELL_STOP, Kind.SELL_STOP_LIMIT):
        return market <= order.price
    return market >= order.price


class TickRun:
    """A way through one symbol's ticks of a batch."""

    def __init__(self, name: str, ticks: Array) -> None:
        self.name = name
        self._times = np.ascontiguousarray(ticks["time_msc"])
        self._bids = np.ascontiguousarray(ticks["bid"])
        self._asks = np.ascontiguousarray(ticks["ask"])
        self._cursor = 0
        self._hit: int | None = None
        self._hit_levels: Levels | None = None

    @property
    def left(self) -> bool:
        """Whether ticks are left."""
        return self._cursor < len(self._times)

    def next_time(self) -> int | None:
        """Time of the next tick."""
        return int(self._times[self._cursor]) if self.left else None

    def hit_time(self, levels: Levels) -> int | None:
        """Time of the first tick left that reaches one of the levels."""
        if levels == NO_LEVELS or not self.left:
            return None
        if levels != self._hit_levels or (self._hit is not None and self._hit < self._cursor):
            self._hit = self._find(levels)
            self._hit_levels = levels
        return None if self._hit is None else int(self._times[self._hit])

    def _find(self, levels: Levels) -> int | None:
        bid, ask = self._bids[self._cursor :], self._asks[self._cursor :]
        hit = (bid <= levels.bid_low) | (bid >= levels.bid_high) | (ask <= levels.ask_low) | (ask >= levels.ask_high)
        first = int(hit.argmax())
        return self._cursor + first if hit[first] else None

    def take(self, *, hit: bool) -> Quote:
        """Step over the next tick, or over the one that `hit_time` found; returns its prices."""
        index = self._hit if hit and self._hit is not None else self._cursor
        return self._take_to(index + 1)

    def take_before(self, time_msc: int) -> Quote | None:
        """Step over all ticks earlier than `time_msc`; returns the prices of the last one, if there was any."""
        stop = int(np.searchsorted(self._times, time_msc))
        return self._take_to(stop) if stop > self._cursor else None

    def take_all(self) -> Quote | None:
        """Step over all that is left."""
        return self._take_to(len(self._times)) if self.left else None

    def _take_to(self, stop: int) -> Quote:
        self._cursor = stop
        return Quote(float(self._bids[stop - 1]), float(self._asks[stop - 1]), int(self._times[stop - 1]))

    def worst(self) -> Quote | None:
        """Lowest bid and highest ask of what is left: no position can fare worse."""
        if not self.left:
            return None
        return Quote(float(self._bids[self._cursor :].min()), float(self._asks[self._cursor :].max()), 0)
