"""What the plan of a drain rests on: the terminals of the node, and the room that others have for them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy.orm import Session

from control_plane.assignments import repository as assignments_repository
from control_plane.assignments.repository import Placement
from control_plane.assignments.state import AssignmentState, is_leaving
from control_plane.fleet.drain import Occupant, Step, plan_drain
from control_plane.fleet.model import Node
from control_plane.fleet.state import NodeState
from control_plane.placement.board import Board, Placed
from control_plane.placement.candidates import Demands, candidates
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals.model import TerminalObservation
from control_plane.terminals.repository import Waiting
from control_plane.terminals.state import IDLE_PHASES, Hold, Intent, should_run
from node_agent.protocol.messages import Phase


class Room:
    """The free slots of all nodes but one, less what is already promised to terminals without a place."""

    def __init__(self, session: Session, leaving_node_id: str) -> None:
        self._board = Board(each for each in candidates(session) if each.node_id != leaving_node_id)
        self._demands = Demands(session)
        for waiting in _placeable(session):
            self.claim(waiting)
        for placement in assignments_repository.revoked(session):
            if wanted(placement):
                self.claim(placement)

    def claim(self, one: Waiting | Placement) -> bool:
        """Promise a slot. False when there is none."""
        answer = self._board.place(self._demands.of(one.terminal, one.account, one.server))
        if not isinstance(answer, Placed):
            return False
        self._board.take(answer)
        return True


def _placeable(session: Session) -> Iterator[Waiting]:
    """Of the terminals without a place those that could take one now: one for each login that runs nowhere."""
    logins: set[tuple[str, int]] = set()
    for waiting in terminals_repository.waiting(session):
        login = (waiting.account.server, waiting.account.login)
        if login not in logins and not terminals_repository.runs_elsewhere(session, waiting.account):
            logins.add(login)
            yield waiting


def drain_steps(session: Session, node: Node, now: datetime) -> dict[str, Step]:
    """A step for the id of each terminal that the draining node still holds."""
    deadline = node.drain_deadline or now
    placements = assignments_repository.of_node(session, node.id)
    seen = terminals_repository.observations(session, [each.terminal.id for each in placements])
    idle = {each.terminal.id: is_idle(each, seen.get(each.terminal.id)) for each in placements}
    room = Room(session, node.id)
    occupants = []
    # Room is promised in the order in which they may leave.
    for placement in sorted(placements, key=lambda each: (not idle[each.terminal.id], each.terminal.id)):
        terminal_id = placement.terminal.id
        leaving = is_leaving(placement.assignment.state) or not wanted(placement)
        may_leave = not leaving and (idle[terminal_id] or now >= deadline)
        occupants.append(
            Occupant(
                terminal_id=terminal_id,
                idle=idle[terminal_id],
                leaving=leaving,
                suspect=node.state != NodeState.ONLINE or placement.assignment.state == AssignmentState.SUSPECT,
                has_room=may_leave and room.claim(placement),
            )
        )
    return plan_drain(occupants, now, deadline)


def is_idle(placement: Placement, seen: TerminalObservation | None) -> bool:
    """Nothing is open in the account, or there is no process that could look after what is."""
    if seen is None or seen.epoch != placement.assignment.epoch:
        return True  # it has not been started there yet
    return bool(seen.flat) or Phase(seen.phase) in IDLE_PHASES


def wanted(placement: Placement) -> bool:
    return should_run(Intent(placement.terminal.intent), Hold(placement.terminal.hold))
