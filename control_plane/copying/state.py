"""States of copying: of the whole, of one copied position, and of one step of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class CopierState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    """Nothing new is opened; what is open is followed to its end."""
    STOPPED = "stopped"
    """For good. The follower's positions stay as they are."""


class LinkState(StrEnum):
    IGNORED = "ignored"
    """Not copied; the note says why."""
    OPENING = "opening"
    OPEN = "open"
    CLOSED = "closed"


class StepKind(StrEnum):
    OPEN = "open"
    CLOSE = "close"
    MODIFY = "modify"


class StepState(StrEnum):
    PENDING = "pending"
    """Written down; whether it was sent is known by its order."""
    DONE = "done"
    REFUSED = "refused"
    NOT_EXECUTED = "not_executed"


class Scaling(StrEnum):
    FIXED = "fixed"
    """`value` lots for each position."""
    MULTIPLIER = "multiplier"
    """The leader's lots times `value`."""
    EQUITY = "equity"
    """The leader's lots times the ratio of the equities times `value`."""
    RISK = "risk"
    """So many lots that the stop loss costs `value` per cent of the follower's equity."""


_ALLOWED: Mapping[CopierState, frozenset[CopierState]] = {
    CopierState.ACTIVE: frozenset({CopierState.PAUSED, CopierState.STOPPED}),
    CopierState.PAUSED: frozenset({CopierState.ACTIVE, CopierState.STOPPED}),
    CopierState.STOPPED: frozenset(),
}


def may_become(present: CopierState, wanted: CopierState) -> bool:
    return wanted is present or wanted in _ALLOWED[present]
