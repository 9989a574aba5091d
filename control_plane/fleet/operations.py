"""What operators do to nodes. Every deed is written down with who did it and why, in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from control_plane.access.port import Target
from control_plane.access.service import require_screen, target_of
from control_plane.assignments import repository as assignments_repository
from control_plane.assignments.relocation import LeasePolicy, Proof
from control_plane.assignments.repository import Placement
from control_plane.assignments.service import Assignments
from control_plane.assignments.state import is_leaving
from control_plane.audit.service import Audit, Deed
from control_plane.clock import Clock
from control_plane.errors import ConflictError, NotFoundError, invalid_field
from control_plane.fleet import repository
from control_plane.fleet.model import Node
from control_plane.fleet.moves import check_move
from control_plane.fleet.service import Fleet
from control_plane.fleet.state import Availability, IdentityState, NodeState, change_availability, change_identity
from control_plane.preconditions import entity_tag, require_match
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals.screen import screen_of
from control_plane.terminals.service import request
from control_plane.terminals.state import Actor, RequestKind
from node_agent.protocol.identity import CLOCK_SKEW_SECONDS

MOVED_BY_HAND = "Moving to another node, as the operator asked."
LONGEST_DRAIN = timedelta(days=7)


@dataclass(frozen=True)
class By:
    """Who does it, and why."""

    actor: str
    reason: str


class Operations:
    """All methods raise NotFoundError for what does not exist and ConflictError for what cannot be done now."""

    def __init__(self, fleet: Fleet, assignments: Assignments, audit: Audit, clock: Clock) -> None:
        self._fleet = fleet
        self._assignments = assignments
        self._audit = audit
        self._clock = clock

    def cordon(self, session: Session, node_id: str, by: By) -> None:
        """The node keeps what it has and gets nothing new."""
        self._wish(session, node_id, Availability.CORDONED, "cordon", by)

    def uncordon(self, session: Session, node_id: str, by: By) -> None:
        """The node takes terminals again; ends a drain or a quarantine as well."""
        self._wish(session, node_id, Availability.OPEN, "uncordon", by)

    def drain(self, session: Session, node_id: str, within: timedelta, by: By) -> None:
        """Move everything away: flat terminals now, the others when flat, and all that is left at the deadline."""
        if not timedelta(0) <= within <= LONGEST_DRAIN:
            raise invalid_field("within_seconds", "A drain may take between 0 s and 7 days.")
        node = self._wish(session, node_id, Availability.DRAINING, "drain", by)
        now = self._clock.now()
        if node.drain_started_at is None:
            node.drain_started_at = now
            node.drain_total = len(assignments_repository.of_node(session, node_id))
        node.drain_deadline = now + within

    def cancel_drain(self, session: Session, node_id: str, by: By) -> None:
        """What has left stays away, what is left stays. The node is cordoned until somebody opens it."""
        node = require_node(session, node_id)
        if node.availability != Availability.DRAINING:
            raise ConflictError("The node is not being drained.", code="not_draining")
        self._wish(session, node_id, Availability.CORDONED, "cancel_drain", by)

    def confirm_dead(self, session: Session, node_id: str, by: By) -> int:
        """A person vouches that no terminal of this node runs any more, so that all of them start elsewhere.

        Returns how many. Refused while the node is heard. Should it come back, it is told to stop all of them.
        """
        node = require_node(session, node_id)
        if node.state == NodeState.ONLINE:
            raise ConflictError("The node answers, so it is not dead; drain it instead.", code="node_answers")
        placements = assignments_repository.of_node(session, node_id)
        for placement in placements:
            self._assignments.fence(session, placement, Proof.OPERATOR)
        node.declared_dead_at = self._clock.now()
        self._record(session, node, "confirm_dead", by)
        return len(placements)

    def unlock(self, session: Session, node_id: str, by: By) -> None:
        """One of the two machines is gone for good, says a person. The next that calls is believed to be the node.

        What the one that is gone said last may still be under way, so only what is signed from now on counts: a node
        whose clock is late by as much as is allowed is believed a minute later.
        """
        node = require_node(session, node_id)
        if node.identity_state != IdentityState.LOCKED:
            raise ConflictError("The node's identity is not locked.", code="not_locked")
        node.identity_state = change_identity(IdentityState(node.identity_state), IdentityState.TRUSTED)
        node.identity_note = ""
        node.continuity_newest, node.continuity_acknowledged, node.superseded_boot_id = None, "", ""
        node.boot_id, node.sequence = "", 0
        node.signed_at = int(self._clock.now().timestamp()) + CLOCK_SKEW_SECONDS + 1
        self._record(session, node, "unlock", by)

    def revoke_identity(self, session: Session, node_id: str, by: By) -> None:
        """Nothing that is signed with the node's key is believed any more; the machine would have to enrol anew."""
        node = require_node(session, node_id)
        if node.identity_state == IdentityState.REVOKED:
            raise ConflictError("The node's identity was revoked before.", code="already_revoked")
        node.identity_state = change_identity(IdentityState(node.identity_state), IdentityState.REVOKED)
        node.identity_note = by.reason
        self._record(session, node, "revoke_identity", by)

    def move(
        self,
        session: Session,
        node_id: str,
        terminal_id: str,
        by: By,
        *,
        with_positions: bool,
        to_node_id: str | None = None,
    ) -> None:
        """Stop one terminal here and start it on the chosen node, or on any other. It is away for some ten seconds."""
        node = require_node(session, node_id)
        placement = require_placement(session, node_id, terminal_id)
        if is_leaving(placement.assignment.state):
            return
        check_move(session, node, placement, with_positions=with_positions, to_node_id=to_node_id)
        placement.terminal.preferred_node_id = to_node_id
        self._assignments.revoke(session, placement, MOVED_BY_HAND, Actor.OPERATOR)
        self._record(
            session,
            node,
            "move",
            By(by.actor, f"{terminal_id}: {by.reason}"),
            on_behalf_of=placement.account.user_id,
            after={"to_node": to_node_id or "any other", "with_positions": with_positions},
        )

    def set_lease_policy(self, session: Session, node_id: str, terminal_id: str, policy: LeasePolicy, by: By) -> None:
        """On behalf of the account's owner."""
        node = require_node(session, node_id)
        placement = require_placement(session, node_id, terminal_id)
        before = {"terminal": terminal_id, "policy": placement.terminal.lease_policy}
        self._assignments.set_lease_policy(session, placement.terminal, policy)
        self._record(
            session,
            node,
            "set_lease_policy",
            By(by.actor, f"{terminal_id}: {policy}. {by.reason}"),
            on_behalf_of=placement.account.user_id,
            before=before,
            after={"terminal": terminal_id, "policy": policy},
        )

    def request(self, session: Session, node_id: str, terminal_id: str, kind: RequestKind, by: By) -> None:
        """Restart a terminal, or collect its logs: done once by the node, with its next sync."""
        node = require_node(session, node_id)
        placement = require_placement(session, node_id, terminal_id)
        request(session, placement.terminal, kind, self._clock.now(), Actor.OPERATOR)
        self._fleet.desired_changed(session, node_id)
        self._record(session, node, kind, By(by.actor, f"{terminal_id}: {by.reason}"))

    def look(self, session: Session, node_id: str, terminal_id: str, by: By) -> Target:
        """Where the screen of a terminal is shown, for somebody who helps its owner. Its tenant's trail tells, too."""
        node = require_node(session, node_id)
        placement = require_placement(session, node_id, terminal_id)
        assignment, account = placement.assignment, placement.account
        seen = terminals_repository.observations(session, [terminal_id]).get(terminal_id)
        require_screen(screen_of(assignment, seen if seen and seen.epoch == assignment.epoch else None))
        why = By(by.actor, f"{terminal_id}: {by.reason}")
        self._record(session, node, "look_at_screen", why, on_behalf_of=account.user_id)
        if account.tenant_id != node.tenant_id:
            deed = Deed(by.actor, "look_at_screen", account.id, by.reason, on_behalf_of=account.user_id)
            self._audit.record(session, account.tenant_id, deed)
        return target_of(placement.terminal, assignment, node)

    def quarantine(self, session: Session, node_id: str, by: By) -> None:
        """Like a cordon, because terminals keep failing there."""
        self._wish(session, node_id, Availability.QUARANTINED, "quarantine", by)

    def _wish(self, session: Session, node_id: str, wanted: Availability, action: str, by: By) -> Node:
        node = require_node(session, node_id)
        before = {"availability": node.availability}
        node.availability = change_availability(Availability(node.availability), wanted)
        node.availability_note = f"{by.actor}: {by.reason}"[:300]
        if wanted is not Availability.DRAINING:
            node.drain_started_at = node.drain_deadline = None
            node.drain_total = 0
        self._record(session, node, action, by, before=before, after={"availability": wanted})
        return node

    def _record(self, session: Session, node: Node, action: str, by: By, **facts: Any) -> None:
        self._audit.record(session, node.tenant_id, Deed(by.actor, action, node.id, by.reason, **facts))


def require_node(session: Session, node_id: str, *, hold: bool = True) -> Node:
    """Held until the transaction ends, unless it is only looked at. Raises NotFoundError."""
    node = repository.lock_node(session, node_id) if hold else repository.node(session, node_id)
    if node is None:
        raise NotFoundError("There is no such node.", code="node_not_found")
    return node


def node_tag(node: Node) -> str:
    """Of what operators want of the node, and of whether it is believed."""
    deadline = node.drain_deadline.isoformat() if node.drain_deadline else None
    dead = node.declared_dead_at.isoformat() if node.declared_dead_at else None
    return entity_tag(node.id, node.availability, node.availability_note, deadline, node.identity_state, dead)


def require_seen(session: Session, node_id: str, if_match: str | None) -> None:
    """That the node, held from now on, is as the operator has seen it. Raises as `require_match`, or NotFoundError."""
    if if_match is not None:
        require_match(if_match, node_tag(require_node(session, node_id)))


def require_placement(session: Session, node_id: str, terminal_id: str) -> Placement:
    """Raises NotFoundError for a terminal that is not on this node."""
    placement = assignments_repository.of_terminal(session, terminal_id)
    if placement is None or placement.assignment.node_id != node_id:
        raise NotFoundError("This node does not hold such a terminal.", code="terminal_not_here")
    return placement
