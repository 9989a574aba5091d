"""HTTP of changing one's e-mail address."""

from __future__ import annotations

from fastapi import APIRouter, Response

from control_plane.api_route import ApiRoute
from control_plane.http import BrowserDep, CallerDep, FarmDep
from control_plane.identity.cookies import forget_session
from control_plane.identity.presentation import present_user
from control_plane.identity.schemas import ChangeEmail, FollowedLink, MailOut, UserOut
from control_plane.problems import problem_responses

router = APIRouter(tags=["identity"], prefix="/auth", route_class=ApiRoute)


@router.post("/change-email", status_code=202, responses=problem_responses(401, 403, 415, 422, 429))
def change_email(wish: ChangeEmail, farm: FarmDep, caller: CallerDep, browser: BrowserDep) -> MailOut:
    """Send a link to the new address. The answer does not tell whether the address has a user."""
    with farm.database.read(caller.user.tenant_id) as session:
        farm.second_factors.require_fresh_proof(session, caller)
    farm.email_changes.request(caller.user, wish.email, browser)
    return MailOut(recipient=wish.email)


@router.post("/confirm-email", responses=problem_responses(400, 401, 403, 415, 422))
def confirm_email(wish: FollowedLink, farm: FarmDep, caller: CallerDep) -> UserOut:
    """Take the new address, with the link of its mail. The old one is sent a link to undo it, good for a week."""
    return present_user(farm, farm.email_changes.confirm(caller.user, wish.token.get_secret_value()))


@router.post("/undo-email-change", status_code=204, responses=problem_responses(400, 403, 409, 415, 422))
def undo_email_change(wish: FollowedLink, farm: FarmDep, response: Response) -> None:
    """Take the old address back, with the link that was sent to it. The password is void, and everything ends."""
    farm.email_changes.undo(wish.token.get_secret_value())
    forget_session(response)
