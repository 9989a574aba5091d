"""Whether a terminal may be taken to another node now: the same rule for its owner and for operators."""

from __future__ import annotations

from sqlalchemy.orm import Session

from control_plane.assignments.repository import Placement
from control_plane.errors import ConflictError, invalid_field
from control_plane.fleet.drains import Room, is_idle
from control_plane.fleet.model import Node
from control_plane.fleet.state import NodeState
from control_plane.placement.board import Unplaced, place
from control_plane.placement.candidates import Demands, candidates
from control_plane.terminals import repository as terminals_repository


def check_move(
    session: Session, node: Node, placement: Placement, *, with_positions: bool, to_node_id: str | None = None
) -> None:
    """`node` is where it runs. Raises ConflictError with what stands against it, InvalidInputError for a chosen node
    that is the present one.
    """
    terminal_id = placement.terminal.id
    if to_node_id == node.id:
        raise invalid_field("to_node_id", "The terminal runs on this node already.", code="already_there")
    if node.state != NodeState.ONLINE:
        raise ConflictError("The node is silent, so it cannot confirm the stop.", code="node_silent")
    seen = terminals_repository.observations(session, [terminal_id]).get(terminal_id)
    if not with_positions and not is_idle(placement, seen):
        raise ConflictError(
            "The account may have open positions or orders, which nobody would look after meanwhile. "
            "Close them first, or move it with them.",
            code="not_flat",
        )
    if to_node_id is not None:
        demand = Demands(session).of(placement.terminal, placement.account, placement.server)
        answer = place(demand, [each for each in candidates(session) if each.node_id == to_node_id])
        if isinstance(answer, Unplaced):
            raise ConflictError("The chosen node cannot take the terminal now.", code="no_room", retryable=True)
    elif not Room(session, node.id).claim(placement):
        raise ConflictError("No other node can take the terminal now.", code="no_room", retryable=True)
