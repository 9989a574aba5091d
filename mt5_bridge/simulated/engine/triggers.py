"""Price levels at which something happens, and finding the first tick of a batch that reaches one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from mt5_bridge.simulated.engine.model import Kind, Order, Position, Quote, Reason
from mt5_bridge.simulated.market.bars import Array

_FIRST_PIECE = 64
_LISTED = 65_536


class Levels(NamedTuple):
    """Something happens when bid or ask is at or below a low level, at or above a high one."""

    bid_low: float = -math.inf
    bid_high: float = math.inf
    ask_low: float = -math.inf
    ask_high: float = math.inf

    def nearest(self, other: Levels) -> Levels:
        """The levels of both that are reached first."""
        if other == NO_LEVELS:
            return self
        return Levels(
            max(self.bid_low, other.bid_low),
            min(self.bid_high, other.bid_high),
            max(self.ask_low, other.ask_low),
            min(self.ask_high, other.ask_high),
        )

    def reached(self, bid: float, ask: float) -> bool:
        """Whether prices reach one of the levels."""
        return not (self.bid_low < bid < self.bid_high and self.ask_low < ask < self.ask_high)


NO_LEVELS = Levels()


class Watch(NamedTuple):
    """What to watch at a symbol: levels of its quotes, and levels of its deals where those set things off.

    Levels of deals are met by the last deal's price on both sides, as long as there was none by the quotes.
    """

    quotes: Levels = NO_LEVELS
    deals: Levels = NO_LEVELS

    def reached(self, quote: Quote) -> bool:
        """Whether a tick reaches one of the levels."""
        bid, ask = quote.bid, quote.ask
        if self.quotes.reached(bid, ask):
            return True
        if self.deals == NO_LEVELS:
            return False
        return self.deals.reached(quote.last, quote.last) if quote.last > 0 else self.deals.reached(bid, ask)


NO_WATCH = Watch()


def levels_of(positions: Iterable[Position], orders: Iterable[Order]) -> Levels:
    """The nearest levels of open positions (rules R8, R9) and pending orders (rule N2)."""
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
            case Kind.BUY | Kind.SELL:  # the rest of a market order takes every tick (rule M4)
                ask_high = -math.inf
    return Levels(bid_low, bid_high, ask_low, ask_high)


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
        self._hit_watch: Watch | None = None

    @property
    def left(self) -> bool:
        """Whether ticks are left."""
        return self._cursor < len(self._times)

    def next_time(self) -> int | None:
        """Time of the next tick."""
        return int(self._times[self._cursor]) if self.left else None

    def hit_time(self, watch: Watch) -> int | None:
        """Time of the first tick left that reaches one of the levels."""
        if watch == NO_WATCH or not self.left:
            return None
        if watch != self._hit_watch or (self._hit is not None and self._hit < self._cursor):
            self._hit = self._find(watch)
            self._hit_watch = watch
        return None if self._hit is None else int(self._times[self._hit])

    def _find(self, watch: Watch) -> int | None:
        """The next hit, looked for in pieces that grow: one that is near costs little however much is left."""
        start, size = self._cursor, _FIRST_PIECE
        while start < len(self._times):
            bids, asks = self._bids[start : start + size], self._asks[start : start + size]
            hits = _hits(watch.quotes, bids, asks)
            if watch.deals != NO_LEVELS:
                lasts = self._lasts[start : start + size]
                traded = lasts > 0
                hits |= _hits(watch.deals, np.where(traded, lasts, bids), np.where(traded, lasts, asks))
            first = int(hits.argmax())
            if hits[first]:
                return start + first
            start += size
            size *= 4
        return None

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
        index = stop - 1
        bid, ask, last = float(self._bids[index]), float(self._asks[index]), float(self._lasts[index])
        return Quote(bid, ask, int(self._times[index]), last)


def _hits(levels: Levels, bids: Array, asks: Array) -> Array:
    """`Levels.reached` for columns of prices."""
    low, high = (
        (bids <= levels.bid_low) | (bids >= levels.bid_high),
        (asks <= levels.ask_low) | (asks >= levels.ask_high),
    )
    return np.asarray(low | high)


def in_order(batch: Mapping[str, Array]) -> Iterator[tuple[str, Quote]]:
    """All ticks of a batch by time; those of one moment by symbol as in the batch, and in their own order."""
    names = list(batch)
    if len(names) == 1:
        name, ticks = names[0], batch[names[0]]
        for start in range(0, len(ticks), _LISTED):
            yield from ((name, quote) for quote in _quotes(ticks[start : start + _LISTED]))
        return
    times = np.concatenate([batch[name]["time_msc"] for name in names]) if names else np.empty(0, np.int64)
    owners = np.repeat(np.arange(len(names)), [len(batch[name]) for name in names])
    queues = [iter(_quotes(batch[name])) for name in names]
    for owner in owners[np.argsort(times, kind="stable")].tolist():
        yield names[owner], next(queues[owner])


def _quotes(ticks: Array) -> Iterator[Quote]:
    columns = (ticks[name].tolist() for name in ("bid", "ask", "time_msc", "last"))
    return map(Quote, *columns)
