"""Which terminals leave a draining node next, and how far it has come. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

MOST_LEAVING = 5
"""How many terminals of one node are on their way at the same time; the others keep trading meanwhile."""


class Step(StrEnum):
    """What becomes of a terminal on a draining node."""

    LEAVING = "leaving"
    """Its stop has been asked for, or it stops anyway."""
    NEXT = "next"
    """To be revoked now."""
    QUEUED = "queued"
    """May leave, and waits for others to have left."""
    WAITS_UNTIL_FLAT = "waits_until_flat"
    """Has positions or orders, or it is not known that it has none. Leaves when flat, at the latest at the deadline."""
    NO_ROOM = "no_room"
    """No other node can take it now, and a place is never given up for none."""
    SUSPECT = "suspect"
    """The node is silent, so nobody can confirm a stop."""


@dataclass(frozen=True)
class Occupant:
    """A terminal on the draining node."""

    terminal_id: str
    idle: bool
    """No positions and no pending orders as last reported, or no process that could trade."""
    leaving: bool
    suspect: bool
    has_room: bool
    """Another node can take it, with all that waits before it counted."""


def plan_drain(occupants: Sequence[Occupant], now: datetime, deadline: datetime) -> dict[str, Step]:
    """A step for each terminal id. Idle ones leave first; at the deadline all others follow."""
    steps = {each.terminal_id: _judge(each, overdue=now >= deadline) for each in occupants}
    free = MOST_LEAVING - sum(step is Step.LEAVING for step in steps.values())
    idle = {each.terminal_id: each.idle for each in occupants}
    queued = [terminal_id for terminal_id, step in steps.items() if step is Step.QUEUED]
    for terminal_id in sorted(queued, key=lambda each: (not idle[each], each))[: max(0, free)]:
        steps[terminal_id] = Step.NEXT
    return steps


def _judge(occupant: Occupant, *, overdue: bool) -> Step:
    if occupant.leaving:
        return Step.LEAVING
    if occupant.suspect:
        return Step.SUSPECT
    if not (occupant.idle or overdue):
        return Step.WAITS_UNTIL_FLAT
    return Step.QUEUED if occupant.has_room else Step.NO_ROOM
