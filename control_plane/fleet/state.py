"""Judgements about nodes: silence, mass loss, cloned identities, and which wishes may follow which. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from control_plane.errors import ConflictError
from node_agent.protocol.messages import Reason


class NodeState(StrEnum):
    """What is observed of a node: how long it has been silent."""

    ONLINE = "online"
    SILENT = "silent"
    """Its lease ran out; its terminals probably keep running."""
    LOST = "lost"


class Availability(StrEnum):
    """What operators (or the farm itself, for a quarantine) want of a node."""

    OPEN = "open"
    CORDONED = "cordoned"
    """Keeps what it has and gets nothing new."""
    DRAINING = "draining"
    """Gets nothing new, and what it has moves away."""
    QUARANTINED = "quarantined"
    """Like cordoned, by the farm itself: terminals keep failing there."""


class IdentityState(StrEnum):
    """Whether the farm still believes what is signed with a node's key."""

    TRUSTED = "trusted"
    LOCKED = "locked"
    """Two machines used one identity. An operator has to look."""
    REVOKED = "revoked"
    """Taken away for good; the machine has to enrol anew."""


class BreakerState(StrEnum):
    """Whether terminals of lost nodes may be moved."""

    CLOSED = "closed"
    OPEN = "open"
    """Relocation is frozen: so many nodes fell silent at once that the fault is probably ours."""


_AVAILABILITY: dict[Availability, frozenset[Availability]] = {
    Availability.OPEN: frozenset({Availability.CORDONED, Availability.DRAINING, Availability.QUARANTINED}),
    Availability.CORDONED: frozenset({Availability.OPEN, Availability.DRAINING}),
    Availability.DRAINING: frozenset({Availability.OPEN, Availability.CORDONED}),
    Availability.QUARANTINED: frozenset({Availability.OPEN, Availability.CORDONED, Availability.DRAINING}),
}

_IDENTITY: dict[IdentityState, frozenset[IdentityState]] = {
    IdentityState.TRUSTED: frozenset({IdentityState.LOCKED, IdentityState.REVOKED}),
    IdentityState.LOCKED: frozenset({IdentityState.TRUSTED, IdentityState.REVOKED}),
    IdentityState.REVOKED: frozenset(),
}


def change_availability(present: Availability, wanted: Availability) -> Availability:
    """The new wish; asking for the present one again changes nothing. Raises ConflictError."""
    if wanted is not present and wanted not in _AVAILABILITY[present]:
        raise ConflictError(f"A node that is {present} cannot become {wanted}.", code="bad_transition")
    return wanted


def change_identity(present: IdentityState, wanted: IdentityState) -> IdentityState:
    """Raises ConflictError for a transition that does not exist."""
    if wanted is not present and wanted not in _IDENTITY[present]:
        raise ConflictError(f"An identity that is {present} cannot become {wanted}.", code="bad_transition")
    return wanted


def judge_silence(
    last_seen: datetime, listening_since: datetime, now: datetime, lease: timedelta, lost_after: timedelta
) -> NodeState:
    """Silence counts only while somebody listened: from the start of this control plane at the earliest."""
    silence = now - max(last_seen, listening_since)
    if silence > lost_after:
        return NodeState.LOST
    return NodeState.SILENT if silence > lease else NodeState.ONLINE


_GRAVITY = {NodeState.ONLINE: 0, NodeState.SILENT: 1, NodeState.LOST: 2}


def worsen(present: NodeState, judged: NodeState) -> NodeState:
    """A node only gets better by being heard; a control plane that has just started knows nothing better."""
    return max(present, judged, key=_GRAVITY.__getitem__)


LOSS_WINDOW = timedelta(minutes=2)
_LOSS_LEAST = 3
_LOSS_SHARE = 0.2


def tolerated_losses(nodes: int) -> int:
    """How many of so many nodes may fall silent at once before it is our network and not theirs."""
    return max(_LOSS_LEAST, int(_LOSS_SHARE * nodes))


@dataclass(frozen=True)
class Fall:
    """When a silent node fell silent: somewhere between when it was heard last and when we would have heard it."""

    earliest: datetime
    latest: datetime
    """Later than `earliest` only when nobody listened in between."""


def judge_breaker(falls: Sequence[Fall], heard: int, lifted_at: datetime | None) -> BreakerState:
    """Open while more nodes are silent that may have fallen silent within the same two minutes than are tolerated.

    `falls` has one entry for each silent node, `heard` counts the others. At `lifted_at` an operator said that the
    nodes silent by then are really gone, so they count no more. Nodes that were gone before others fell do not enlarge
    the fleet that a share is taken of.
    """
    counted = [fall for fall in falls if lifted_at is None or fall.latest > lifted_at]
    for start in {fall.latest for fall in counted}:
        present = [fall for fall in counted if fall.latest >= start]
        together = sum(fall.earliest <= start + LOSS_WINDOW for fall in present)
        if together > tolerated_losses(heard + len(present)):
            return BreakerState.OPEN
    return BreakerState.CLOSED


@dataclass(frozen=True)
class Continuity:
    """The tokens that tell one life of an identity from a second one."""

    newest: str | None = ""
    """Given with the last answer; empty before the first. None: believe whatever is shown next."""
    acknowledged: str = ""
    """The last one that the node has shown."""


def judge_continuity(known: Continuity, shown: str, *, speaks: bool) -> Continuity | None:
    """What is known after a sync that shows `shown`; None when a second copy of the identity lives.

    The node shows the token of the last answer that it has on disk. That is the newest one, or, when the last answer
    never got there, the one before. Only a copy shows anything older. An agent that does not speak of continuity
    (protocol 1.0) is judged by boot and sequence alone; what was known is forgotten, so that a copy that has a token is
    found out all the same.
    """
    if not speaks:
        return Continuity()
    if known.newest is None or shown == known.newest:
        return Continuity(newest=shown, acknowledged=shown)
    return known if shown == known.acknowledged else None


NODE_FAULTS = frozenset({Reason.TEMPLATE_BROKEN, Reason.DISK_FULL})
"""Reasons of terminals that lie in the machine."""
_FAULTS_LEAST = 3
_FAULTS_SHARE = 0.5


def judge_faults(reasons: Collection[Reason | None]) -> Reason | None:
    """What makes a node unfit, from the reasons of all its terminals (None: nothing wrong), or None when it is fit.

    At least three terminals and at least half of them must suffer from what only the machine can be blamed for.
    """
    for fault in sorted(NODE_FAULTS):
        suffering = sum(reason is fault for reason in reasons)
        if suffering >= _FAULTS_LEAST and suffering >= _FAULTS_SHARE * len(reasons):
            return fault
    return None


def may_quarantine(quarantined: int, nodes: int) -> bool:
    """Whether one node more may be put aside without a person. A fault that is everywhere is not the nodes' fault."""
    return quarantined < max(1, int(_LOSS_SHARE * nodes))
