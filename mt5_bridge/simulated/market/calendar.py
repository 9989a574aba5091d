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


@dataclass(frozen=True)
class WeeklySessions:
    """Open intervals of one week, Sunday first.

    `days[d]` holds `(start, end)` pairs in minutes after that day's midnight of the broker clock; `end` is exclusive
    and may be 1440.
    """

    days: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def on_days(cls, days: Sequence[int], start: int = 0, end: int = MINUTES_A_DAY) -> WeeklySessions:
        """The same session on each of `days` (0 Sunday .. 6 Saturday)."""
        return cls(tuple(((start, end),) if day in days else () for day in range(7)))

    def is_open(self, time: int) -> bool:
        """Whether the broker time `time` (seconds) lies in a session."""
        within = (time + _SUNDAY_OFFSET) % WEEK
        day, minute = within // DAY, within % DAY // 60
        return any(start <= minute < end for start, end in self.days[day])

    def open_mask(self, times_msc: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """`is_open` for an array of millisecond times."""
        minutes = ((times_msc // 1000 + _SUNDAY_OFFSET) % WEEK) // 60
        table = np.zeros(7 * MINUTES_A_DAY, dtype=np.bool_)
        for day, sessions in enumerate(self.days):
            for start, end in sessions:
                table[day * MINUTES_A_DAY + start : day * MINUTES_A_DAY + end] = True
        return np.asarray(table[minutes], dtype=np.bool_)


ALWAYS = WeeklySessions.on_days(range(7))
FX_WEEK = WeeklySessions.on_days(range(1, 6))
"""Monday 00:00 to Friday 24:00: brokers on New York + 7 h close the week at midnight of their clock."""
METALS_WEEK = WeeklySessions.on_days(range(1, 6), start=61, end=1439)
"""Gold pauses for an hour around the New York close."""
INDEX_WEEK = WeeklySessions.on_days(range(1, 6), start=135, end=1380)


def monday_of(time: int) -> int:
    """Midnight of the Monday of the trading week at hand: of this week, or on Sunday of the week that just ended."""
    days = time // DAY
    return (days - (days + 3) % 7) * DAY
