"""HTTP of holds, for operators. What owners do with their terminals is in `accounts/routes.py`."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from control_plane.api_route import ApiRoute
from control_plane.audit.service import Deed
from control_plane.errors import NotFoundError
from control_plane.fleet.schemas import Because
from control_plane.http import FarmDep, OperatorDep
from control_plane.problems import problem_responses
from control_plane.terminals import repository
from control_plane.terminals.model import Terminal
from control_plane.terminals.state import Actor, Hold

router = APIRouter(tags=["nodes"], prefix="/terminals", route_class=ApiRoute)
_DEED = problem_responses(401, 403, 404, 409, 415, 422)


@router.post("/{terminal_id}/hold", status_code=204, responses=_DEED)
def hold_terminal(terminal_id: str, because: Because, farm: FarmDep, operator: OperatorDep) -> Response:
    """Stop a terminal, wherever it runs or waits, until the hold is lifted. Its owner is told that it is held back."""
    with farm.database.write_as_system() as session:
        deed = Deed(operator, "", terminal_id, because.reason)
        farm.holds.hold(session, _require(session, terminal_id), Hold.ADMIN, deed, Actor.OPERATOR)
    return Response(status_code=204)


@router.post("/{terminal_id}/lift", status_code=204, responses=_DEED)
def lift_hold(terminal_id: str, because: Because, farm: FarmDep, operator: OperatorDep) -> Response:
    """End a hold that an operator set; the terminal starts if its owner still wants it."""
    with farm.database.write_as_system() as session:
        deed = Deed(operator, "", terminal_id, because.reason)
        farm.holds.lift(session, _require(session, terminal_id), Hold.ADMIN, deed, Actor.OPERATOR)
    return Response(status_code=204)


def _require(session: Session, terminal_id: str) -> Terminal:
    terminal = repository.held_terminal(session, terminal_id)
    if terminal is None:
        raise NotFoundError("There is no such terminal.", code="terminal_not_found")
    return terminal
