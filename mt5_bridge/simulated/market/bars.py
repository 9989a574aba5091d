"""Bars from ticks and from bars.

The rules are the ones measured on a real terminal's data: a minute bar is the first, highest, lowest and last **bid**
of the minute's ticks; `tick_volume` counts the ticks that changed the bid; `spread` is the smallest of the minute in
points; a minute without such ticks has no bar. Higher timeframes are the M1 bars put together on the broker clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mt5_bridge.contract import CONSTANT_GROUPS
from mt5_bridge.simulated.market.calendar import DAY, WEEK
from mt5_bridge.structs import RATES_DTYPE

Array = npt.NDArray[Any]

TICK_FLAG_BID = 2
TRADE_FLAGS = 8 | 16
MINUTE = 60
_SUNDAY_PHASE = 3 * DAY  # 1970-01-04 was the first Sunday
_HOURS = 0x4000
_W1, _MN1 = 32769, 49153
_MONTH_MINUTES = 31 * 1440

TIMEFRAMES = frozenset(CONSTANT_GROUPS["TIMEFRAME"].values())


def minutes_of(timeframe: int) -> int:
    """Longest length of a bar in minutes; ValueError for a number that is no timeframe."""
    if timeframe not in TIMEFRAMES:
        raise ValueError(f"{timeframe} is no timeframe")
    if timeframe == _MN1:
        return _MONTH_MINUTES
    if timeframe == _W1:
        return 7 * 1440
    return (timeframe - _HOURS) * 60 if timeframe & _HOURS else timeframe


def open_times(times: Array, timeframe: int) -> Array:
    """Open time (s) of the bar that each time (s) belongs to: W1 from Sunday 00:00, MN1 from the 1st (rule E3)."""
    if timeframe == _MN1:
        months = times.astype("datetime64[s]").astype("datetime64[M]")
        return np.asarray(months.astype("datetime64[s]").astype(np.int64))
    if timeframe == _W1:
        return np.asarray((times - _SUNDAY_PHASE) // WEEK * WEEK + _SUNDAY_PHASE)
    seconds = minutes_of(timeframe) * MINUTE
    return np.asarray(times // seconds * seconds)


def _starts(keys: Array) -> Array:
    return np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))


def minute_bars(ticks: Array, point: float, *, of_last: bool = False) -> Array:
    """M1 bars of a tick array (ascending), of bids or of the prices of deals (rule E4)."""
    if of_last:
        ticks = ticks[ticks["last"] > 0]
    if not len(ticks):
        return np.empty(0, RATES_DTYPE)
    keys = ticks["time"] // MINUTE * MINUTE
    starts = _starts(keys)
    bid = np.ascontiguousarray(ticks["last" if of_last else "bid"])
    bars = np.zeros(len(starts), RATES_DTYPE)
    bars["time"] = keys[starts]
    bars["open"] = bid[starts]
    bars["high"] = np.maximum.reduceat(bid, starts)
    bars["low"] = np.minimum.reduceat(bid, starts)
    bars["close"] = bid[np.append(starts[1:], len(bid)) - 1]
    counted = TRADE_FLAGS if of_last else TICK_FLAG_BID
    bars["tick_volume"] = np.add.reduceat((ticks["flags"] & counted != 0).astype(np.uint64), starts)
    spreads = np.rint((ticks["ask"] - ticks["bid"]) / point).astype(np.int32)
    bars["spread"] = np.minimum.reduceat(spreads, starts)
    if of_last:
        bars["real_volume"] = np.add.reduceat(np.where(ticks["flags"] & TRADE_FLAGS != 0, ticks["volume"], 0), starts)
    return bars[bars["tick_volume"] > 0]


def minute_bars_of(batches: Iterable[Array], point: float) -> Iterator[Array]:
    """M1 bars of ticks that come in batches, which may be cut anywhere."""
    rest: Array | None = None
    for batch in batches:
        ticks = batch if rest is None else np.concatenate((rest, batch))
        times = np.ascontiguousarray(ticks["time"])
        cut = int(np.searchsorted(times, times[-1] // MINUTE * MINUTE)) if len(times) else 0
        yield minute_bars(ticks[:cut], point)
        rest = ticks[cut:]
    if rest is not None:
        yield minute_bars(rest, point)


def aggregate(m1: Array, timeframe: int) -> Array:
    """Bars of `timeframe` from M1 bars (ascending). The first one is cut if `m1` starts inside it."""
    if timeframe == 1 or not len(m1):
        return m1
    keys = open_times(m1["time"], timeframe)
    starts = _starts(keys)
    bars = np.zeros(len(starts), RATES_DTYPE)
    bars["time"] = keys[starts]
    bars["open"] = m1["open"][starts]
    bars["high"] = np.maximum.reduceat(m1["high"], starts)
    bars["low"] = np.minimum.reduceat(m1["low"], starts)
    bars["close"] = m1["close"][np.append(starts[1:], len(m1)) - 1]
    bars["tick_volume"] = np.add.reduceat(m1["tick_volume"], starts)
    bars["spread"] = np.minimum.reduceat(m1["spread"], starts)
    bars["real_volume"] = np.add.reduceat(m1["real_volume"], starts)
    return bars
