"""What proves that a terminal is dead although its node does not say so. Pure.

One account never trades from two places: nothing is moved on a guess, however long its node has been silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from control_plane.assignments.state import AssignmentState

FENCE_DRIFT = 0.02
"""How much slower than ours a node's clocks may run."""
FENCE_MARGIN = timedelta(seconds=10)
"""What the watchdog may take for the kill itself."""


class LeasePolicy(StrEnum):
    """What becomes of a terminal when its node loses touch with the control plane."""

    KEEP_RUNNING = "keep_running"
    SELF_FENCE = "self_fence"
    """The node ends it, so that it can be started elsewhere."""


class Proof(StrEnum):
    """Why a place could be given up."""

    CONFIRMED = "confirmed"
    """The agent reported the stop."""
    SELF_FENCED = "self_fenced"
    """The node's watchdog has ended it by now."""
    POWERED_OFF = "powered_off"
    """The provider says that the machine is off."""
    OPERATOR = "operator"
    """A person says that it is dead."""


class Unproven(StrEnum):
    """Why a terminal stays where it is."""

    NOT_SUSPECT = "not_suspect"
    NODE_PRESENT = "node_present"
    FROZEN = "frozen"
    """Too many nodes fell silent at once."""
    IDENTITY_SHARED = "identity_shared"
    """Two machines used the node's identity; what is known of one of them says nothing of the other."""
    KEEPS_RUNNING = "keeps_running"
    NO_WATCHDOG = "no_watchdog"
    FENCE_PENDING = "fence_pending"
    """The moment by which the node must have ended it lies ahead."""


@dataclass(frozen=True)
class NodeFacts:
    """What is known of the node that holds the terminal."""

    lost: bool
    """Silent for five minutes in which this control plane listened."""
    locked: bool
    watchdog_up: bool
    """As the node's last report said."""
    fence_due_at: datetime | None
    """The latest of all moments by which an answered sync obliged the node to have fenced; None: it was never told."""
    powered_off: bool = False


def fence_due(granted_at: datetime, fence_seconds: float) -> datetime:
    """When a terminal must be dead at the latest, on our clock, after a lease granted at `granted_at`."""
    return granted_at + timedelta(seconds=fence_seconds * (1 + FENCE_DRIFT)) + FENCE_MARGIN


def judge_relocation(
    state: AssignmentState, policy: LeasePolicy, node: NodeFacts, *, frozen: bool, now: datetime
) -> Proof | Unproven:
    """The proof that an assignment's terminal is dead, or what is missing.

    `policy` is what every snapshot that the node may hold says, not what is wished since.
    """
    obstacle = _obstacle(state, node, frozen=frozen)
    if obstacle is not None:
        return obstacle
    if node.powered_off:
        return Proof.POWERED_OFF
    return _unfenced(policy, node, now) or Proof.SELF_FENCED


def _obstacle(state: AssignmentState, node: NodeFacts, *, frozen: bool) -> Unproven | None:
    """What no proof but an operator's word gets over."""
    if state not in {AssignmentState.SUSPECT, AssignmentState.REVOKED}:
        return Unproven.NOT_SUSPECT
    if not node.lost:
        return Unproven.NODE_PRESENT
    if node.locked:
        return Unproven.IDENTITY_SHARED
    return Unproven.FROZEN if frozen else None


def _unfenced(policy: LeasePolicy, node: NodeFacts, now: datetime) -> Unproven | None:
    """Why the node may not have ended the terminal by itself; None when it has."""
    if policy is not LeasePolicy.SELF_FENCE:
        return Unproven.KEEPS_RUNNING
    if not node.watchdog_up:
        return Unproven.NO_WATCHDOG
    if node.fence_due_at is None or now < node.fence_due_at:
        return Unproven.FENCE_PENDING
    return None
