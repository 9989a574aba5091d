"""What was seen of the positions of one account, look by look: how old one can be, and whether one is really gone.

A terminal that has just connected lists no positions until its broker has told it of them. So not to be listed proves
nothing at first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

GONE_AFTER = timedelta(seconds=5)
"""What is not listed for so long, by every look and with none that failed in between, counts as closed."""
_REMEMBERED = timedelta(hours=1)


@dataclass(frozen=True)
class _Sighting:
    first_at: datetime
    not_there_at: datetime | None
    """When it was surely not open yet; None when nobody knows."""


class Sightings:
    def __init__(self) -> None:
        self._looked_at: datetime | None = None
        self._steady_since: datetime | None = None
        """The first of the looks of which none has failed."""
        self._held: dict[int, _Sighting] = {}
        self._missing: dict[int, datetime] = {}

    def look(self, tickets: Collection[int], now: datetime) -> None:
        """These are listed now, and no others."""
        self._missing.update({ticket: now for ticket in self._held if ticket not in tickets})
        fresh = _Sighting(now, self._looked_at if self._is_steady() else None)
        self._held = {ticket: self._held.get(ticket, fresh) for ticket in tickets}
        self._missing = {
            ticket: since
            for ticket, since in self._missing.items()
            if ticket not in self._held and now - since < _REMEMBERED
        }
        self._looked_at = now
        self._steady_since = self._steady_since or now

    def lost(self) -> None:
        """The terminal could not be asked: what it lists next may be too little again."""
        self._missing, self._steady_since = {}, None

    def age(self, ticket: int, by_broker: timedelta, now: datetime) -> timedelta:
        """Of a position that is listed. The broker's clock may run faster than ours (a market that is replayed does),
        and it stands still between quotes; what was seen by our own clock bounds it on both sides."""
        seen = self._held[ticket]
        at_most = by_broker if seen.not_there_at is None else min(by_broker, now - seen.not_there_at)
        return max(timedelta(0), at_most, now - seen.first_at)

    def is_gone(self, ticket: int, now: datetime) -> bool:
        if ticket in self._held or self._looked_at is None:
            return False
        return now - self._missing.setdefault(ticket, self._looked_at) >= GONE_AFTER

    def _is_steady(self) -> bool:
        return (
            self._looked_at is not None
            and self._steady_since is not None
            and self._looked_at - self._steady_since >= GONE_AFTER
        )
