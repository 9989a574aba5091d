"""Compare the trade log with the broker's book. Pure: two sides in, their differences out."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from control_plane.trading.ledger import DealFacts, balance_of
from control_plane.trading.state import DifferenceKind, Subject
from mt5_bridge.history_digest import Digests

CENT = Decimal("0.01")
"""A balance that is off by less is rounded otherwise, not wrong."""


@dataclass(frozen=True)
class Side:
    """How a book shows rows of one subject."""

    subject: Subject
    text: Callable[[Any], str]
    """Equal for rows that count as alike."""
    shown: Callable[[Any], dict[str, Any]]
    """By field, for people, as JSON keeps it."""


@dataclass(frozen=True)
class Difference:
    """One way in which log and broker differ. `digest` names it: the same difference always has the same."""

    subject: Subject
    kind: DifferenceKind
    ticket: int
    """0 for the balance."""
    here: Mapping[str, Any]
    there: Mapping[str, Any]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        facts = [self.subject, self.kind, self.ticket, dict(self.here), dict(self.there)]
        text = json.dumps(facts, sort_keys=True, default=str)
        object.__setattr__(self, "digest", hashlib.sha256(text.encode()).hexdigest()[:32])


def differing_periods(here: Digests, there: Digests) -> list[int]:
    """Beginnings of the periods that have to be compared row by row."""
    return sorted(period for period in here.keys() | there.keys() if here.get(period) != there.get(period))


def compare(side: Side, here: Iterable[Any], there: Sequence[Any]) -> list[Difference]:
    """Differences of all rows given, in the order of their tickets. A ticket is in the log once; the broker's answer
    may hold it more often, and the first of them counts.
    """
    ours = {row.ticket: row for row in here}
    theirs: dict[int, Any] = {}
    for row in there:
        theirs.setdefault(row.ticket, row)
    found = [
        Difference(side.subject, DifferenceKind.DOUBLED, ticket, {}, {"times": times})
        for ticket, times in Counter(row.ticket for row in there).items()
        if times > 1
    ]
    for ticket in ours.keys() | theirs.keys():
        difference = _of_ticket(side, ticket, ours.get(ticket), theirs.get(ticket))
        if difference is not None:
            found.append(difference)
    return sorted(found, key=lambda each: (each.ticket, each.kind))


def _of_ticket(side: Side, ticket: int, here: Any, there: Any) -> Difference | None:
    if here is None:
        return Difference(side.subject, DifferenceKind.MISSING_HERE, ticket, {}, side.shown(there))
    if there is None:
        return Difference(side.subject, DifferenceKind.MISSING_THERE, ticket, side.shown(here), {})
    if side.text(here) == side.text(there):
        return None
    ours, theirs = side.shown(here), side.shown(there)
    changed = [name for name in ours if ours[name] != theirs[name]]
    return Difference(
        side.subject,
        DifferenceKind.EDITED,
        ticket,
        {name: ours[name] for name in changed},
        {name: theirs[name] for name in changed},
    )


def compare_balance(balance: Decimal, book: Iterable[DealFacts]) -> list[Difference]:
    """Whether the broker's own deals add up to the balance that it shows. Credit is not part of either."""
    total = balance_of(list(book))
    if abs(balance - total) < CENT:
        return []
    return [
        Difference(
            Subject.BALANCE,
            DifferenceKind.UNBALANCED,
            0,
            {"sum_of_deals": f"{total:.2f}"},
            {"balance": f"{balance:.2f}"},
        )
    ]


@dataclass(frozen=True)
class Verdict:
    """What a look has come to."""

    fresh: tuple[Difference, ...]
    """Seen twice now and never reported."""
    suspects: tuple[str, ...]
    """Digests to look for again; empty when the comparison is over."""
    gone: frozenset[str]
    """Digests of reported ones that are not there any more."""
    back: frozenset[str]
    """Digests of those that had gone."""


def judge(
    found: Sequence[Difference], suspects: Collection[str], open_before: Collection[str], settled: Collection[str]
) -> Verdict:
    """A difference counts when two looks have seen it: what happens while the books are read is on its way to the log.

    `open_before` are digests of those reported and still open, `settled` of those healed or gone.
    """
    digests = {each.digest for each in found}
    news = [each for each in found if each.digest not in open_before and each.digest not in settled]
    fresh = tuple(each for each in news if each.digest in suspects)
    waiting = tuple(each.digest for each in news if each.digest not in suspects)
    return Verdict(fresh, waiting, frozenset(open_before) - digests, frozenset(settled) & digests)
