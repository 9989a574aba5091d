"""HTTP of a user's own sessions."""

from __future__ import annotations

from fastapi import APIRouter

from control_plane.api_route import ApiRoute
from control_plane.http import CallerDep, FarmDep
from control_plane.identity.model import UserSession
from control_plane.identity.schemas import SessionList, SessionOut
from control_plane.identity.sessions import Caller
from control_plane.problems import problem_responses

router = APIRouter(tags=["identity"], prefix="/auth/sessions", route_class=ApiRoute)


@router.get("", responses=problem_responses(401, 403))
def list_sessions(farm: FarmDep, caller: CallerDep) -> SessionList:
    """Where you are signed in, the session used last first."""
    with farm.database.read(caller.user.tenant_id) as session:
        rows = farm.sessions.of_user(session, caller.user.id)
    return SessionList(items=[_present(farm, row, caller) for row in rows])


@router.delete("/{session_id}", status_code=204, responses=problem_responses(401, 403, 404))
def end_session(session_id: str, farm: FarmDep, caller: CallerDep) -> None:
    """Sign out one of your browsers, at once."""
    with farm.database.write(caller.user.tenant_id) as session:
        farm.identity.end_session(session, caller.user, session_id)


@router.post("/end-others", status_code=204, responses=problem_responses(401, 403))
def end_other_sessions(farm: FarmDep, caller: CallerDep) -> None:
    """Sign out all your browsers but this one."""
    with farm.database.write(caller.user.tenant_id) as session:
        farm.identity.end_other_sessions(session, caller)


def _present(farm: FarmDep, row: UserSession, caller: Caller) -> SessionOut:
    return SessionOut(
        id=row.id,
        address=row.address,
        user_agent=row.user_agent,
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
        expires_at=farm.sessions.ends_at(row),
        second_factor=row.second_factor_at is not None,
        current=caller.session is not None and row.id == caller.session.id,
    )
