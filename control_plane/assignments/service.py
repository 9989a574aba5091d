"""Take terminals' places away, on the agent's word or on proof; `placement.service` gives them."""

from __future__ import annotations

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
from control_plane.terminals.model import Terminal
from control_plane.terminals.state import Intent
from control_plane.vault.service import Vault


class Assignments:
    def __init__(self, fleet: Fleet, vault: Vault, outbox: Outbox, bus: Bus, clock: Clock) -> None:
        self._fleet = fleet
        self._vault = vault
        self._outbox = outbox
        self._bus = bus
        self._clock = clock

    def release(self, session: Session, placement: repository.Placement) -> None:
        """The agent has confirmed the stop, so that the slot is free and the login may run elsewhere."""
        self._end(session, placement, Proof.CONFIRMED)

    def revoke(self, session: Session, placement: repository.Placement, note: str) -> None:
        """Take the terminal away from its node. It gets another place once the agent has confirmed the stop."""
        assignment, terminal = placement.assignment, placement.terminal
        assignment.state = change(AssignmentState(assignment.state), AssignmentState.REVOKED)
        terminal.avoid_node_id = assignment.node_id
        terminal.placement_note = note
        self._fleet.desired_changed(session, assignment.node_id)
        self._announce(session, placement.account.user_id, placement.account.id)

    def fence(self, session: Session, placement: repository.Placement, proof: Proof) -> None:
        """The terminal is proven to be dead although its node did not confirm it."""
        assignment = placement.assignment
        state = AssignmentState(assignment.state)
        if state is not AssignmentState.REVOKED:
            state = change(state, AssignmentState.SUSPECT)
        assignment.state = change(state, AssignmentState.FENCED)
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
        assignment.state = change(AssignmentState(assignment.state), AssignmentState.RELEASED)
        assignment.released_at, assignment.ended_by = self._clock.now(), proof
        terminal.placement_note = ""
        if terminal.intent == Intent.DELETED:
            self._vault.erase_credentials(session, terminal.tenant_id, account.id)
        self._fleet.desired_changed(session, assignment.node_id)
        # The slot may be what others wait for, and the terminal itself may need a new place.
        self._outbox.put(session, JobKind.PLACE_TERMINAL, terminal.id)
        self._announce(session, account.user_id, account.id)

    def _announce(self, session: Session, user_id: str, account_id: str) -> None:
        after_commit(session, lambda: self._bus.publish(Change(Topic.ACCOUNT, account_id, user_id, account_id)))
