"""What was seen of the positions of one account, look by look: how old one can be, and whether one is really gone.

A terminal that has just connected lists no positions until its broker has told it of them. So not to be listed proves
nothing at first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

GONE_AFTER = timedelta(seconds=5)
"""What is not listed for so long, by every look and with none that failed in between, counts as closed."""
_REMEMBERED = timedelta(hours=1)


@dataclass(frozen=True)
class _Sighting:
    first_at: datetime
    last_at: datetime
    not_there_at: datetime | None
    """When it was surely not open yet; None when nobody knows."""


class Sightings:
    def __init__(self) -> None:
        self._looked_at: datetime | None = None
        self._steady_since: datetime | None = None
        """The first of the looks of which none has failed."""
        self._trusted_at: datetime | None = None
        """The last look that surely listed all."""
        self._listed: frozenset[int] = frozenset()
        self._seen: dict[int, _Sighting] = {}
        self._missing: dict[int, datetime] = {}

    def look(self, tickets: Collection[int], now: datetime) -> None:
        """These are listed now, and no others."""
        listed = frozenset(tickets)
        missing = self._missing | dict.fromkeys(self._listed - listed, now)
        self._missing = {
            ticket: since for ticket, since in missing.items() if ticket not in listed and now - since < _REMEMBERED
        }
        fresh = _Sighting(now, now, self._trusted_at)
        self._seen = {
            **{ticket: each for ticket, each in self._seen.items() if now - each.last_at < _REMEMBERED},
            **{ticket: replace(self._seen.get(ticket, fresh), last_at=now) for ticket in listed},
        }
        self._listed, self._looked_at = listed, now
        self._steady_since = self._steady_since or now
        if self.is_steady(now):
            self._trusted_at = now

    def lost(self) -> None:
        """The terminal could not be asked: what it lists next may be too little again."""
        self._missing, self._steady_since = {}, None

    def is_steady(self, now: datetime) -> bool:
        """Whether what is listed now is all that is open."""
        return self._steady_since is not None and now - self._steady_since >= GONE_AFTER

    def age(self, ticket: int, by_broker: timedelta, now: datetime) -> timedelta:
        """Of a position that is listed. The broker's clock may run faster than ours (a market that is replayed does),
        and it stands still between quotes; what was seen by our own clock bounds it on both sides."""
        seen = self._seen[ticket]
        at_most = by_broker if seen.not_there_at is None else min(by_broker, now - seen.not_there_at)
        return max(timedelta(0), at_most, now - seen.first_at)

    def is_gone(self, ticket: int, now: datetime) -> bool:
        if ticket in self._listed or self._looked_at is None:
            return False
        return now - self._missing.setdefault(ticket, self._looked_at) >= GONE_AFTER
