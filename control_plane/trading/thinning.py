"""Which points of an equity curve may go as it ages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Tier:
    """Points older than `after` are kept one in `apart`."""

    after: timedelta
    apart: timedelta


def to_drop(moments: Iterable[datetime], tiers: Sequence[Tier], now: datetime) -> list[datetime]:
    """All but the last of each span of the coarsest tier that a point is old enough for. Spans begin at multiples of
    their length, so that thinning what is thinned changes nothing. A span that is only partly old enough stays whole.
    """
    last: dict[tuple[timedelta, int], datetime] = {}
    dropped = []
    for moment in sorted(moments):
        span = _span(moment, tiers, now)
        if span is None:
            continue
        if span in last:
            dropped.append(last[span])
        last[span] = moment
    return dropped


def _span(moment: datetime, tiers: Sequence[Tier], now: datetime) -> tuple[timedelta, int] | None:
    for tier in sorted(tiers, key=lambda each: each.after, reverse=True):
        number = (moment - _START) // tier.apart
        if _START + (number + 1) * tier.apart <= now - tier.after:
            return tier.apart, number
    return None
