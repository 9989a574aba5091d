"""Give terminals a place on a node and take it away, each time under a new epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from control_plane.assignments import repository
from control_plane.assignments.model import Assignment
from control_plane.assignments.relocation import LeasePolicy, Proof
from control_plane.assignments.state import AssignmentState, change
from control_plane.brokers.model import BrokerServer
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.engine import after_commit
from control_plane.fleet import outdated
from control_plane.fleet import repository as fleet_repository
from control_plane.fleet.model import Node
from control_plane.fleet.service import Fleet
from control_plane.fleet.state import Availability, IdentityState, NodeState
from control_plane.ids import new_id
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import JobKind
from control_plane.placement.decision import Candidate, Demand, Unplaced, place
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals import service as terminals_service
from control_plane.terminals.model import Terminal
from control_plane.terminals.repository import Waiting
from control_plane.terminals.state import Actor, Intent, TransitionKind
from control_plane.terminals.transitions import Transition, record
from control_plane.vault.service import Vault
from control_plane.vault.trials import LoginTrials

_NEEDED = frozenset({"memory", "disk"})
_OUTDATED = "Waiting: the farm was restored from a backup, and not all of its nodes have reported since."
_STILL_ELSEWHERE = "Waiting: the same MT5 account still runs in another terminal."


class Assignments:
    def __init__(
        self,
        fleet: Fleet,
        vault: Vault,
        trials: LoginTrials,
        outbox: Outbox,
        bus: Bus,
        clock: Clock,
        believed_for: timedelta,
    ) -> None:
        self._fleet = fleet
        self._vault = vault
        self._trials = trials
        self._outbox = outbox
        self._bus = bus
        self._clock = clock
        self._believed_for = believed_for

    def place_waiting(self, session: Session) -> int:
        """Give every waiting terminal a place, if there is one. Returns how many were placed."""
        waiting = terminals_repository.waiting(session)
        missing = outdated.awaited(session) if waiting else []
        if missing:
            for each in waiting:
                self._note(session, each, _OUTDATED)
            return 0
        nodes = candidates(session) if waiting else []
        placed = 0
        for each in waiting:
            taken = self._place(session, each, nodes)
            if taken is not None:
                nodes = [replace(node, used=node.used + 1) if node.node_id == taken else node for node in nodes]
                placed += 1
        return placed

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

    def _place(self, session: Session, waiting: Waiting, nodes: Sequence[Candidate]) -> str | None:
        """The node that it got a place on."""
        terminal, account = waiting.terminal, waiting.account
        objection = _STILL_ELSEWHERE if terminals_repository.runs_elsewhere(session, account) else ""
        objection = objection or self._trials.objection(session, account)
        if objection:
            self._note(session, waiting, objection)
            return None
        answer = place(demand_of(terminal, waiting.server), nodes)
        if isinstance(answer, Unplaced):
            self._note(session, waiting, answer.explanation)
            return None
        node = fleet_repository.lock_node(session, answer.node_id)
        if node is None or not _still_fits(node, fleet_repository.used_slots(session)):
            return None  # another control plane took the last slot, or an operator the node; the loop asks again
        terminal.last_epoch += 1
        terminal.avoid_node_id = terminal.preferred_node_id = None
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
                # No snapshot that names this epoch has been made yet, so all of them will say this.
                lease_policy=terminal.lease_policy,
            )
        )
        taken = Transition(
            TransitionKind.PLACE, "", AssignmentState.RESERVED, Actor.FARM, note=answer.explanation, node_id=node.id
        )
        record(session, terminal, taken, self._clock.now())
        session.flush()
        self._fleet.desired_changed(session, node.id)
        self._note(session, waiting, answer.explanation)
        return node.id

    def _note(self, session: Session, waiting: Waiting, text: str) -> None:
        if waiting.terminal.placement_note != text:
            waiting.terminal.placement_note = text
            self._announce(session, waiting.account.user_id, waiting.account.id)

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


def demand_of(terminal: Terminal, server: BrokerServer) -> Demand:
    return Demand(
        simulated=server.simulated_address is not None,
        avoid_node_id=terminal.avoid_node_id,
        prefer_node_id=terminal.preferred_node_id,
    )


def candidates(session: Session) -> list[Candidate]:
    """All nodes as placement sees them."""
    used = fleet_repository.used_slots(session)
    return [_candidate(node, used.get(node.id, 0)) for node in fleet_repository.nodes(session)]


def _candidate(node: Node, used: int) -> Candidate:
    return Candidate(
        node_id=node.id,
        name=node.name,
        online=node.state == NodeState.ONLINE and node.identity_state == IdentityState.TRUSTED,
        accepting=node.availability == Availability.OPEN and not _starts_nothing(node),
        runtimes=frozenset(node.runtimes),
        slots=node.slots,
        used=used + node.strays,
    )


def _starts_nothing(node: Node) -> bool:
    """An agent that is short of memory or disk would leave a new terminal waiting."""
    return not _NEEDED.isdisjoint(node.report.get("pressure", []))


def _still_fits(node: Node, used: dict[str, int]) -> bool:
    candidate = _candidate(node, used.get(node.id, 0))
    return candidate.online and candidate.accepting and candidate.free > 0
