"""Weekly trading sessions on the broker's wall clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MINUTES_A_DAY = 1440
DAY = 86_400
WEEK = 7 * DAY
# 1970-01-01 was a Thursday; MT5 counts days of the week from Sunday.
_SUNDAY_OFFSET = 4 * DAY


Intervals = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class WeeklySessions:
    """Open intervals of one week, Sunday first, and of days that differ.

    `days[d]` holds `(start, end)` pairs in minutes after that day's midnight of the broker clock; `end` is exclusive
    and may lie after 1440: the session then runs on into the next day (rule Q3).
    """

    days: tuple[Intervals, ...]
    exceptions: tuple[tuple[int, Intervals], ...] = ()
    """Days (since 1970) with hours of their own: holidays without any, short days with fewer."""

    @classmethod
    def on_days(cls, days: Sequence[int], start: int = 0, end: int = MINUTES_A_DAY) -> WeeklySessions:
        """The same session on each of `days` (0 Sunday .. 6 Saturday)."""
        return cls(tuple(((start, end),) if day in days else () for day in range(7)))

    def with_holidays(self, *times: int) -> WeeklySessions:
        """The same week, closed on the days that hold these broker times (s)."""
        closed: tuple[tuple[int, Intervals], ...] = tuple((time // DAY, ()) for time in times)
        return WeeklySessions(self.days, self.exceptions + closed)

    def on(self, day: int) -> Intervals:
        """The intervals of a day (days since 1970)."""
        for exception, intervals in self.exceptions:
            if exception == day:
                return intervals
        return self.days[weekday(day * DAY)]

    def is_open(self, time: int) -> bool:
        """Whether the broker time `time` (seconds) lies in a session."""
        day, minute = time // DAY, time % DAY // 60
        for start, end in self.on(day):
            if start <= minute < end:
                return True
        late = minute + MINUTES_A_DAY
        return any(late < end for _, end in self.on(day - 1))

    def next_open(self, time: int) -> int:
        """The first moment (s) from `time` on at which the symbol trades; `time` itself if it never does again."""
        if self.is_open(time):
            return time
        for day in range(time // DAY, time // DAY + 15):
            for start, _ in sorted(self.on(day)):
                if day * DAY + start * 60 >= time:
                    return day * DAY + start * 60
        return time

    def open_mask(self, times_msc: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """`is_open` for an array of millisecond times, ascending."""
        minutes = np.asarray(times_msc // 60_000)
        if not len(minutes):
            return np.zeros(0, dtype=np.bool_)
        first = int(minutes[0]) // MINUTES_A_DAY
        last = int(minutes[-1]) // MINUTES_A_DAY
        table = np.zeros((last - first + 2) * MINUTES_A_DAY, dtype=np.bool_)
        for day in range(first - 1, last + 1):
            base = (day - first) * MINUTES_A_DAY
            for start, end in self.on(day):
                table[max(0, base + start) : max(0, base + end)] = True
        return np.asarray(table[minutes - first * MINUTES_A_DAY], dtype=np.bool_)


ALWAYS = WeeklySessions.on_days(range(7))
FX_WEEK = WeeklySessions.on_days(range(1, 6))
"""Monday 00:00 to Friday 24:00: brokers on New York + 7 h close the week at midnight of their clock."""
METALS_WEEK = WeeklySessions.on_days(range(1, 6), start=61, end=1439)
"""Gold pauses for an hour around the New York close."""
STOCK_WEEK = WeeklySessions.on_days(range(1, 6), start=990, end=1380)
"""New York's 9:30 to 16:00."""
INDEX_WEEK = WeeklySessions.on_days(range(1, 6), start=135, end=1380)


def weekday(time: int) -> int:
    """Day of the week of a broker time (s), 0 Sunday .. 6 Saturday."""
    return (time + _SUNDAY_OFFSET) % WEEK // DAY


def monday_of(time: int) -> int:
    """Midnight of the Monday of the trading week at hand: of this week, or on Sunday of the week that just ended."""
    days = time // DAY
    return (days - (days + 3) % 7) * DAY
