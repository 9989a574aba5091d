"""The wall clock of broker servers, and the week in which they trade. Pure.

A zone is written as its IANA name, with hours added where a broker keeps its clock that far from it:
`Europe/Athens`, or `America/New_York+7` for the many who close their day with New York.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

COMMON_ZONE = "America/New_York+7"
"""What is assumed of a server whose zone is not known: its week then is that of foreign exchange."""
_WITH_HOURS = re.compile(r"(?P<name>.+?)(?P<hours>[+-]\d{1,2})")
_MOST_HOURS = 14
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class ServerZone:
    base: ZoneInfo
    ahead: timedelta

    def utc(self, wall: datetime) -> datetime:
        """The moment at which the server's clock shows `wall`, which is naive."""
        return (wall - self.ahead).replace(tzinfo=self.base).astimezone(UTC)

    def wall(self, moment: datetime) -> datetime:
        """What the server's clock shows at a moment; naive."""
        return moment.astimezone(self.base).replace(tzinfo=None) + self.ahead


def parse_zone(text: str) -> ServerZone:
    """Raises ValueError for what is no zone, with words that say what is."""
    name, hours = text, "0"
    # `Etc/GMT+3` is a name of its own.
    if not _is_name(text) and (written := _WITH_HOURS.fullmatch(text)):
        name, hours = written["name"], written["hours"]
    if not _is_name(name) or abs(int(hours)) > _MOST_HOURS:
        raise ValueError(
            f"'{text}' is no time zone; write an IANA name such as Europe/Athens, or one with hours added such as "
            f"{COMMON_ZONE}"
        )
    return ServerZone(ZoneInfo(name), timedelta(hours=int(hours)))


def _is_name(text: str) -> bool:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # by the place in which it is looked for
        return False
    return True


def trading_weeks(zone: ServerZone, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """The parts of the time from `start` to `end` in which markets are open: Monday 00:00 to Friday 24:00 by the clock
    of the server. Holidays and the hours of single symbols are not known here.
    """
    today = zone.wall(start)
    monday = datetime.combine(today.date() - timedelta(days=today.weekday()), time())
    found = []
    while (opens := zone.utc(monday)) < end:
        lower, upper = max(opens, start), min(zone.utc(monday + timedelta(days=5)), end)
        if lower < upper:
            found.append((lower, upper))
        monday += _WEEK
    return found
