"""Price levels at which something happens, and finding the first tick of a batch that reaches one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mt5_bridge.simulated.engine.model import Kind, Order, Position, Quote, Reason
from mt5_bridge.simulated.market.bars import Array


class Levels(NamedTuple):
    """A symbol's nearest levels: something happens when bid or ask is at or below a low, at or above a high one.

    On an exchange both sides are watched on the last deal's price instead.
    """

    bid_low: float = -math.inf
    bid_high: float = math.inf
    ask_low: float = -math.inf
    ask_high: float = math.inf
    on_last: bool = False

    @property
    def is_any(self) -> bool:
        """Whether there is anything to reach."""
        return self[:4] != NO_LEVELS[:4]


NO_LEVELS = Levels()


def levels_of(positions: Iterable[Position], orders: Iterable[Order], *, on_last: bool = False) -> Levels:
    """The nearest levels of open positions (rules R8, R9) and pending orders (rule N2)."""
    bid_low, bid_high, ask_low, ask_high = NO_LEVELS[:4]
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
            case Kind.BUY | Kind.SELL:  # the rest of a market order takes every tick (rule M4)
                ask_high = -math.inf
    return Levels(bid_low, bid_high, ask_low, ask_high, on_last)


def _watched(quote: Quote, *, ask: bool, on_last: bool) -> float:
    """The price that sets things off: on an exchange the last deal's, where there has been one."""
    if on_last and quote.last > 0:
        return quote.last
    return quote.ask if ask else quote.bid


def stop_reason(position: Position, quote: Quote, *, on_last: bool = False) -> Reason | None:
    """Whether the position's SL or TP is reached (rules R8, R9)."""
    price = _watched(quote, ask=not position.buy, on_last=on_last)
    if position.buy:
        if position.sl and price <= position.sl:
            return Reason.SL
        return Reason.TP if position.tp and price >= position.tp else None
    if position.sl and price >= position.sl:
        return Reason.SL
    return Reason.TP if position.tp and price <= position.tp else None


def is_reached(order: Order, quote: Quote, *, on_last: bool = False) -> bool:
    """Whether a pending order's price is reached (rule N2)."""
    if order.kind in (Kind.BUY, Kind.SELL):
        return True
    market = _watched(quote, ask=order.kind.is_buy, on_last=on_last)
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
        self._lasts = np.ascontiguousarray(ticks["last"])
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
        if not levels.is_any or not self.left:
            return None
        if levels != self._hit_levels or (self._hit is not None and self._hit < self._cursor):
            self._hit = self._find(levels)
            self._hit_levels = levels
        return None if self._hit is None else int(self._times[self._hit])

    def _find(self, levels: Levels) -> int | None:
        bid, ask = self._bids[self._cursor :], self._asks[self._cursor :]
        if levels.on_last:
            last = self._lasts[self._cursor :]
            bid, ask = np.where(last > 0, last, bid), np.where(last > 0, last, ask)
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
        return self._quote(stop - 1)

    def _quote(self, index: int) -> Quote:
        bid, ask, last = float(self._bids[index]), float(self._asks[index]), float(self._lasts[index])
        return Quote(bid, ask, int(self._times[index]), last)

    def worst(self) -> Quote | None:
        """Lowest bid and highest ask of what is left: no position can fare worse."""
        if not self.left:
            return None
        return Quote(float(self._bids[self._cursor :].min()), float(self._asks[self._cursor :].max()), 0)
