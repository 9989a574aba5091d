"""Take terminals' places away, on the agent's word or on proof; `placement.service` gives them."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from control_plane.assignments import repository
from control_plane.assignments.relocation import LeasePolicy, Proof
from control_plane.assignments.state import AssignmentState, change
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.engine import after_commit
from control_plane.fleet.service import Fleet
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import JobKind
from control_plane.terminals import service as terminals_service
from control_plane.terminals.model import Terminal
from control_plane.terminals.state import Actor, Intent, TransitionKind
from control_plane.terminals.transitions import Transition, record
from control_plane.vault.service import Vault


class Assignments:
    def __init__(
        self,
        fleet: Fleet,
        vault: Vault,
        outbox: Outbox,
        bus: Bus,
        clock: Clock,
        believed_for: timedelta,
    ) -> None:
        self._fleet = fleet
        self._vault = vault
        self._outbox = outbox
        self._bus = bus
        self._clock = clock
        self._believed_for = believed_for

    def release(self, session: Session, placement: repository.Placement) -> None:
        """The agent has confirmed the stop, so that the slot is free and the login may run elsewhere."""
        self._end(session, placement, Proof.CONFIRMED)

    def revoke(self, session: Session, placement: repository.Placement, note: str, actor: Actor = Actor.FARM) -> None:
        """Take the terminal away from its node. It gets another place once the agent has confirmed the stop."""
        assignment, terminal = placement.assignment, placement.terminal
        enter(session, placement, AssignmentState.REVOKED, self._clock.now(), actor=actor, note=note)
        terminal.avoid_node_id = assignment.node_id
        terminal.placement_note = note
        self._fleet.desired_changed(session, assignment.node_id)
        self._announce(session, placement.account.user_id, placement.account.id)

    def fence(self, session: Session, placement: repository.Placement, proof: Proof) -> None:
        """The terminal is proven to be dead although its node did not confirm it."""
        assignment = placement.assignment
        now = self._clock.now()
        if assignment.state != AssignmentState.REVOKED:
            enter(session, placement, AssignmentState.SUSPECT, now)
        enter(session, placement, AssignmentState.FENCED, now, reason=proof)
        placement.terminal.avoid_node_id = assignment.node_id
        self._end(session, placement, proof)

    def set_lease_policy(self, session: Session, terminal: Terminal, policy: LeasePolicy) -> None:
        """What becomes of the terminal when its node loses touch.

        Protection that is given up counts as given up at once; protection that is asked for counts when the node knows.
        """
        if terminal.lease_policy == policy:
            return
        terminal.lease_policy = policy
        assignment = repository.alive(session, terminal.tenant_id, terminal.id)
        if assignment is None:
            return
        if policy is LeasePolicy.KEEP_RUNNING:
            assignment.lease_policy = policy
        self._fleet.desired_changed(session, assignment.node_id)

    def _end(self, session: Session, placement: repository.Placement, proof: Proof) -> None:
        assignment, terminal, account = placement.assignment, placement.terminal, placement.account
        now = self._clock.now()
        terminals_service.place_given_up(session, terminal, assignment.epoch, now, self._believed_for)
        enter(session, placement, AssignmentState.RELEASED, now, reason=proof)
        assignment.released_at, assignment.ended_by = now, proof
        terminal.placement_note = ""
        if terminal.intent == Intent.DELETED:
            self._vault.erase_credentials(session, terminal.tenant_id, account.id)
        self._fleet.desired_changed(session, assignment.node_id)
        # The slot may be what others wait for, and the terminal itself may need a new place.
        self._outbox.put(session, JobKind.PLACE_TERMINAL, terminal.id)
        self._announce(session, account.user_id, account.id)

    def _announce(self, session: Session, user_id: str, account_id: str) -> None:
        after_commit(session, lambda: self._bus.publish(Change(Topic.ACCOUNT, account_id, user_id, account_id)))


def enter(
    session: Session,
    placement: repository.Placement,
    state: AssignmentState,
    at: datetime,
    *,
    actor: Actor = Actor.FARM,
    reason: str = "",
    note: str = "",
) -> None:
    """Change the state of an assignment, and write it into the terminal's timeline. Raises ConflictError."""
    assignment, before = placement.assignment, AssignmentState(placement.assignment.state)
    assignment.state = change(before, state)
    if state is not before:
        transition = Transition(TransitionKind.PLACE, before, state, actor, reason, note, assignment.node_id)
        record(session, placement.terminal, transition, at, assignment.epoch)
