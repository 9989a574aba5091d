"""The wall clock of the simulated broker: New York + 7 h, as that of many servers (rule C1).

Midnight is the New York close on every day of the year. So the clock is 2 hours ahead of UTC in the American winter and
3 in the summer, by the rules that hold since 2007.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_WINTER, _SUMMER = 2 * 3600, 3 * 3600


def broker_time(utc: int) -> int:
    """What the broker's clock shows at a UTC time (s since 1970), written as if it were UTC seconds."""
    year = datetime.fromtimestamp(utc, UTC).year
    begins = _sunday(year, 3, 2) + timedelta(hours=7)  # 02:00 in New York, where it is UTC - 5
    ends = _sunday(year, 11, 1) + timedelta(hours=6)  # 02:00 in New York, where it is UTC - 4
    return utc + (_SUMMER if begins.timestamp() <= utc < ends.timestamp() else _WINTER)


def _sunday(year: int, month: int, number: int) -> datetime:
    """Midnight (UTC) of the first, second ... Sunday of a month."""
    first = datetime(year, month, 1, tzinfo=UTC)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (number - 1))
