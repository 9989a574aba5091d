"""HTTP of invitations: for those who give roles, and for those who are invited."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Response

from control_plane.api_route import ApiRoute
from control_plane.http import BrowserDep, CallerDep, FarmDep
from control_plane.identity.cookies import keep_session
from control_plane.identity.presentation import present_user
from control_plane.identity.schemas import UserOut
from control_plane.identity.state import Role
from control_plane.invitations import repository
from control_plane.invitations.model import Invitation
from control_plane.invitations.schemas import AcceptInvitation, InvitationList, InvitationOut, Invite
from control_plane.members.guards import Manager
from control_plane.problems import problem_responses

router = APIRouter(tags=["members"], prefix="/members/invitations", route_class=ApiRoute)
accept_router = APIRouter(tags=["identity"], route_class=ApiRoute)


@router.get("", responses=problem_responses(401, 403))
def list_invitations(farm: FarmDep, manager: Manager) -> InvitationList:
    """Those of one's own tenant that nobody has accepted yet, the newest first."""
    with farm.database.read(manager.tenant_id) as session:
        rows = repository.open_ones(session, manager.tenant_id, farm.clock.now())
    return InvitationList(items=[_present(row) for row in rows])


@router.post("", status_code=201, responses=problem_responses(401, 403, 409, 415, 422, 429))
def invite_member(
    wish: Invite, farm: FarmDep, manager: Manager, caller: CallerDep, browser: BrowserDep
) -> InvitationOut:
    """Send somebody a link to become one of one's own tenant's people. An earlier link to the same address ends."""
    lasts = timedelta(days=wish.expires_in_days)
    with farm.database.write(manager.tenant_id) as session:
        farm.second_factors.require_fresh_proof(session, caller)
        return _present(farm.invitations.invite(session, manager, wish.email, wish.role, lasts, browser))


@router.delete("/{invitation_id}", status_code=204, responses=problem_responses(401, 403, 404))
def revoke_invitation(invitation_id: str, farm: FarmDep, manager: Manager) -> None:
    """Its link is of no use any more."""
    with farm.database.write(manager.tenant_id) as session:
        farm.invitations.revoke(session, manager, invitation_id)


@accept_router.post("/auth/accept-invitation", status_code=201, responses=problem_responses(400, 403, 415, 422))
def accept_invitation(wish: AcceptInvitation, farm: FarmDep, browser: BrowserDep, response: Response) -> UserOut:
    """Become a user with the link of an invitation, and open a session."""
    token, password = wish.token.get_secret_value(), wish.password.get_secret_value()
    signed_in = farm.invitations.accept(token, password, wish.display_name, browser)
    keep_session(farm, response, signed_in)
    return present_user(farm, signed_in.user)


def _present(row: Invitation) -> InvitationOut:
    return InvitationOut(
        id=row.id,
        email=row.email,
        role=Role(row.role),
        invited_by=row.invited_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
