"""Give terminals a place on a node and take it away, each time under a new epoch."""

from __future__ import annotations

from sqlalchemy.orm import Session

from control_plane.assignments import repository
from control_plane.assignments.model import Assignment
from control_plane.assignments.state import AssignmentState, change
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.engine import after_commit
from control_plane.fleet import repository as fleet_repository
from control_plane.fleet.service import Fleet
from control_plane.fleet.state import NodeState
from control_plane.ids import new_id
from control_plane.placement.decision import Candidate, Demand, Unplaced, place
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals.repository import Waiting
from control_plane.terminals.state import Intent
from control_plane.vault.service import Vault

_STILL_ELSEWHERE = "Waiting: the same MT5 account still runs in another terminal."


class Assignments:
    def __init__(self, fleet: Fleet, vault: Vault, bus: Bus, clock: Clock) -> None:
        self._fleet = fleet
        self._vault = vault
        self._bus = bus
        self._clock = clock

    def place_waiting(self, session: Session) -> int:
        """Give every waiting terminal a place, if there is one. Returns how many were placed."""
        return sum(self._place(session, waiting) for waiting in terminals_repository.waiting(session))

    def release(self, session: Session, placement: repository.Placement) -> None:
        """The terminal is proven to be gone from its node, so that its slot is free and its login may run elsewhere."""
        assignment, terminal, account = placement.assignment, placement.terminal, placement.account
        assignment.state = change(AssignmentState(assignment.state), AssignmentState.RELEASED)
        assignment.released_at = self._clock.now()
        terminal.placement_note = ""
        if terminal.intent == Intent.DELETED:
            self._vault.erase_credentials(session, terminal.tenant_id, account.id)
        self._fleet.desired_changed(session, assignment.node_id)
        self._announce(session, account.user_id, account.id)

    def _place(self, session: Session, waiting: Waiting) -> bool:
        terminal, account = waiting.terminal, waiting.account
        if terminals_repository.runs_elsewhere(session, account):
            self._note(session, waiting, _STILL_ELSEWHERE)
            return False
        answer = place(Demand(simulated=waiting.server.simulated_address is not None), _candidates(session))
        if isinstance(answer, Unplaced):
            self._note(session, waiting, answer.explanation)
            return False
        node = fleet_repository.lock_node(session, answer.node_id)
        if node is None or fleet_repository.used_slots(session).get(node.id, 0) >= node.slots:
            return False  # another control plane took the last slot; the loop asks again
        terminal.last_epoch += 1
        session.add(
            Assignment(
                id=new_id("asg"),
                tenant_id=terminal.tenant_id,
                terminal_id=terminal.id,
                node_id=node.id,
                epoch=terminal.last_epoch,
                runtime=answer.runtime,
                state=AssignmentState.RESERVED,
                reserved_at=self._clock.now(),
            )
        )
        session.flush()
        self._fleet.desired_changed(session, node.id)
        self._note(session, waiting, answer.explanation)
        return True

    def _note(self, session: Session, waiting: Waiting, text: str) -> None:
        if waiting.terminal.placement_note != text:
            waiting.terminal.placement_note = text
            self._announce(session, waiting.account.user_id, waiting.account.id)

    def _announce(self, session: Session, user_id: str, account_id: str) -> None:
        after_commit(session, lambda: self._bus.publish(Change(Topic.ACCOUNT, account_id, user_id, account_id)))


def _candidates(session: Session) -> list[Candidate]:
    used = fleet_repository.used_slots(session)
    return [
        Candidate(
            node_id=node.id,
            name=node.name,
            online=node.state == NodeState.ONLINE,
            runtimes=frozenset(node.runtimes),
            slots=node.slots,
            used=used.get(node.id, 0),
        )
        for node in fleet_repository.nodes(session)
    ]
