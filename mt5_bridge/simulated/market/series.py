"""One symbol's ticks and minute bars, of which only the part up to the market's time is visible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mt5_bridge.simulated.market.bars import MINUTE, TRADE_FLAGS, Array, aggregate, minute_bars, minutes_of, open_times
from mt5_bridge.simulated.market.calendar import DAY
from mt5_bridge.structs import RATES_DTYPE

MAX_BARS = 100_000
"""`terminal_info().maxbars`: no more bars than this are served."""
INFO_FLAGS = 2 | 4
_REST_ROWS = 65_536
COPY_ALL, COPY_INFO, COPY_TRADE = -1, 1, 2


@dataclass(frozen=True)
class DayRange:
    """Highest and lowest quotes of the broker's day so far, and its first bid."""

    bid_high: float
    bid_low: float
    ask_high: float
    ask_low: float
    open: float
    last_high: float = 0.0
    last_low: float = 0.0


class Series:
    """Ticks (TICKS_DTYPE, ascending by time_msc) and M1 bars (RATES_DTYPE) of one symbol.

    `bars` may hold minutes that lie ahead: a bar counts as closed, and is visible, when a tick of a later minute has
    been released. The arrays are never changed in place, so slices of them may be handed out. `times` and `opens` are
    the columns time_msc and time where the caller has them apart already (mapped files); `rest` gives the pages of
    mapped files back and is called after every so many rows that were read.
    """

    def __init__(
        self,
        point: float,
        ticks: Array,
        bars: Array,
        *,
        of_last: bool = False,
        times: Array | None = None,
        opens: Array | None = None,
        rest: Callable[[], None] | None = None,
    ) -> None:
        self._point = point
        self._of_last = of_last
        self._rest = rest
        self._read_rows = 0
        self._ticks = ticks
        self._bars = bars
        # Searching a field of packed rows would copy the whole column each time.
        self._times = np.ascontiguousarray(ticks["time_msc"]) if times is None else times
        self._opens = np.ascontiguousarray(bars["time"]) if opens is None else opens
        self._released = 0
        self._day: DayRange | None = None
        self._day_start = 0

    @property
    def last_tick(self) -> Array | None:
        """The newest released tick (a record), or None before the first."""
        return self._ticks[self._released - 1] if self._released else None

    @property
    def next_time_msc(self) -> int | None:
        """Time of the first tick that is still ahead."""
        return int(self._times[self._released]) if self._released < len(self._times) else None

    @property
    def day(self) -> DayRange | None:
        """Range of the day of the newest tick."""
        return self._day

    def has_read(self, rows: int) -> None:
        """Count rows that were read from mapped files."""
        self._read_rows += rows
        if self._rest is not None and self._read_rows >= _REST_ROWS:
            self._read_rows = 0
            self._rest()

    def extend(
        self, ticks: Array, bars: Array | None = None, *, keep_ticks_from_msc: int, keep_bars: int = MAX_BARS
    ) -> None:
        """Append what comes later, and forget ticks older than `keep_ticks_from_msc`.

        With new bars, all but `keep_bars` of the old ones are forgotten; without, the bars stay as they are.
        """
        # The forming bar and the last tick are read from the ticks: those of the newest minute always stay.
        dropped = min(self._index(keep_ticks_from_msc), self._minute_start())
        self._ticks = np.concatenate((self._ticks[dropped:], ticks))
        self._times = np.concatenate((self._times[dropped:], ticks["time_msc"]))
        self._released -= dropped
        if bars is None:
            return
        self._bars = np.concatenate((self._bars[-keep_bars:], bars))
        self._opens = np.concatenate((self._opens[-keep_bars:], bars["time"]))

    def release(self, until_msc: int) -> Array:
        """Make the ticks up to and including `until_msc` visible; returns the new ones (a view)."""
        stop = self._index(until_msc + 1)
        start, self._released = self._released, max(stop, self._released)
        fresh = self._ticks[start : self._released]
        if len(fresh):
            self._widen_day(fresh)
            self.has_read(len(fresh))
        return fresh

    def _widen_day(self, fresh: Array) -> None:
        day_start = int(fresh["time"][-1]) // DAY * DAY
        known = self._day if day_start == self._day_start else None
        if known is None:
            first = self._index(day_start * 1000)
            fresh = self._ticks[first : self._released]
            self._day_start = day_start
        bid, ask = fresh["bid"], fresh["ask"]
        deals = fresh["last"][fresh["last"] > 0]
        lasts = (float(deals.max()), float(deals.min())) if len(deals) else (0.0, 0.0)
        seen = DayRange(float(bid.max()), float(bid.min()), float(ask.max()), float(ask.min()), float(bid[0]), *lasts)
        if known is not None:
            seen = DayRange(
                max(known.bid_high, seen.bid_high),
                min(known.bid_low, seen.bid_low),
                max(known.ask_high, seen.ask_high),
                min(known.ask_low, seen.ask_low),
                known.open,
                max(known.last_high, seen.last_high),
                min(known.last_low or seen.last_low, seen.last_low or known.last_low),
            )
        self._day = seen

    def ticks_from(self, time: int, count: int, flags: int) -> Array:
        """Up to `count` released ticks from `time` (s) forward (rules F1, F2)."""
        start = self._index(time * 1000)
        self.has_read(min(count, self._released - start) if flags == COPY_ALL else self._released - start)
        if flags == COPY_ALL:
            return self._ticks[start : min(self._released, start + count)]
        return _with_flags(self._ticks[start : self._released], flags)[:count]

    def ticks_range(self, first: int, last: int, flags: int) -> Array:
        """Released ticks with `first` <= time <= `last` (s)."""
        start = self._index(first * 1000)
        stop = min(self._index((last + 1) * 1000), self._released)
        self.has_read(max(0, stop - start))
        return _with_flags(self._ticks[start : max(start, stop)], flags)

    def bars_from_position(self, timeframe: int, start: int, count: int) -> Array:
        """`count` bars that end `start` bars before the forming one (rule E1)."""
        wanted = min(start + count, MAX_BARS)
        bars = self._recent(timeframe, wanted)
        stop = len(bars) - start
        return bars[max(0, stop - count) : max(0, stop)]

    def bars_until(self, timeframe: int, time: int, count: int) -> Array:
        """The `count` newest bars that opened at or before `time` (s)."""
        count = min(count, MAX_BARS)
        return self._recent(timeframe, count, until=time)[-count:]

    def bars_range(self, timeframe: int, first: int, last: int) -> Array:
        """The bars that opened from `first` to `last` (s), both ends inclusive."""
        visible = self._visible_from(int(open_times(np.array([first]), timeframe)[0]))
        bars = aggregate(visible, timeframe)
        return bars[(bars["time"] >= first) & (bars["time"] <= last)][-MAX_BARS:]

    def _current_minute(self) -> int:
        tick = self.last_tick
        return int(tick["time"]) // MINUTE * MINUTE if tick is not None else 0

    def _forming(self) -> Array:
        if not self._released:
            return np.empty(0, RATES_DTYPE)
        ticks = self._ticks[self._minute_start() : self._released]
        return minute_bars(ticks, self._point, of_last=self._of_last)

    def _closed_count(self) -> int:
        return int(np.searchsorted(self._opens, self._current_minute()))

    def _index(self, time_msc: int) -> int:
        """Number of the first tick at or after `time_msc`, released or not."""
        return int(np.searchsorted(self._times, time_msc))

    def _minute_start(self) -> int:
        return min(self._index(self._current_minute() * 1000), self._released)

    def _visible_from(self, time: int) -> Array:
        start = int(np.searchsorted(self._opens, time))
        closed = self._bars[start : max(start, self._closed_count())]
        forming = self._forming()
        return self._copied(closed, forming[forming["time"] >= time])

    def _recent(self, timeframe: int, wanted: int, until: int | None = None) -> Array:
        """At least the last `wanted` bars (all of them, if fewer exist), the oldest never cut."""
        closed = self._closed_count()
        forming = self._forming()
        if until is not None:
            # A bar that opened at or before `until` may end later: its whole length stays in.
            last = int(open_times(np.array([until]), timeframe)[0]) + minutes_of(timeframe) * MINUTE
            closed = min(closed, int(np.searchsorted(self._opens, last)))
            forming = forming[forming["time"] < last]
        # A bar of n minutes holds at most n minute bars, so this many reach back far enough.
        start = max(0, closed - (wanted + 1) * minutes_of(timeframe))
        if start:
            opened = int(open_times(self._opens[start : start + 1], timeframe)[0])
            start = int(np.searchsorted(self._opens, opened))
        return aggregate(self._copied(self._bars[start:closed], forming), timeframe)

    def _copied(self, closed: Array, forming: Array) -> Array:
        bars = np.concatenate((closed, forming))
        self.has_read(len(closed))
        return bars


def _with_flags(ticks: Array, flags: int) -> Array:
    if flags == COPY_ALL:
        return ticks
    mask = (INFO_FLAGS if flags & COPY_INFO else 0) | (TRADE_FLAGS if flags & COPY_TRADE else 0)
    return np.asarray(ticks[ticks["flags"] & mask != 0])
