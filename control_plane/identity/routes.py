"""HTTP of sign-up, sign-in, sign-out and passwords."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Cookie, Request, Response
from pydantic import SecretStr

from control_plane.api_route import ApiRoute
from control_plane.container import Farm
from control_plane.http import BrowserDep, CallerDep, FarmDep, UserDep
from control_plane.identity.cookies import CEREMONY_COOKIE, SESSION_COOKIE, forget_session, keep_device, keep_session
from control_plane.identity.passkey_schemas import ShownCredential
from control_plane.identity.passkeys import holder_of
from control_plane.identity.presentation import present_user
from control_plane.identity.schemas import (
    ChangePassword,
    MailOut,
    RequestReset,
    ResetPassword,
    SignIn,
    SignUp,
    StepUp,
    UserOut,
    VerifyEmail,
)
from control_plane.identity.second_factor import Shown
from control_plane.identity.service import owner_of
from control_plane.identity.sessions import SignedIn
from control_plane.problems import problem_responses

router = APIRouter(tags=["identity"], route_class=ApiRoute)
me_router = APIRouter(tags=["me"], route_class=ApiRoute)
CeremonyCookie = Annotated[str | None, Cookie(alias=CEREMONY_COOKIE, include_in_schema=False)]


@router.post("/auth/sign-up", status_code=202, responses=problem_responses(403, 415, 422, 429))
def sign_up(wish: SignUp, farm: FarmDep, browser: BrowserDep) -> MailOut:
    """Send a mail with a link that finishes the sign-up. The answer does not tell whether the address has a user."""
    farm.registration.sign_up(wish.email, wish.password.get_secret_value(), wish.display_name, browser)
    return MailOut(recipient=wish.email)


@router.post("/auth/verify-email", status_code=201, responses=problem_responses(400, 401, 403, 415, 422, 429))
def verify_email(wish: VerifyEmail, farm: FarmDep, browser: BrowserDep, response: Response) -> UserOut:
    """Finish a sign-up with the link of its mail and the password that was chosen, and open a session."""
    token, password = wish.token.get_secret_value(), wish.password.get_secret_value()
    return _signed_in(farm, response, farm.registration.verify_email(token, password, browser))


@router.post("/auth/sign-in", responses=problem_responses(401, 403, 415, 422, 429))
def sign_in(
    wish: SignIn, farm: FarmDep, browser: BrowserDep, response: Response, ceremony: CeremonyCookie = None
) -> UserOut:
    """Open a session. Failed attempts make the next one wait, except on a device that the user has signed in with."""
    shown = _shown(wish.code, wish.passkey, ceremony)
    signed_in = farm.identity.sign_in(wish.email, wish.password.get_secret_value(), browser, shown)
    return _signed_in(farm, response, signed_in)


@router.post("/auth/step-up", status_code=204, responses=problem_responses(400, 401, 403, 415, 422, 429))
def step_up(wish: StepUp, farm: FarmDep, caller: CallerDep, browser: BrowserDep) -> None:
    """Prove once more that it is you, for ten minutes, when an answer was `step_up_required`."""
    password = wish.password.get_secret_value() if wish.password else None
    code = wish.code.get_secret_value() if wish.code else None
    passkey = wish.passkey.as_answer() if wish.passkey else None
    farm.identity.step_up(caller, password, code, passkey, browser)


@router.post("/auth/request-reset", status_code=202, responses=problem_responses(403, 415, 422, 429))
def request_reset(wish: RequestReset, farm: FarmDep, browser: BrowserDep) -> MailOut:
    """Send a mail with a link to set a new password. The answer does not tell whether the address has a user."""
    farm.password_reset.request(wish.email, browser)
    return MailOut(recipient=wish.email)


@router.post("/auth/reset-password", status_code=204, responses=problem_responses(400, 401, 403, 415, 422, 429))
def reset_password(
    wish: ResetPassword, farm: FarmDep, browser: BrowserDep, response: Response, ceremony: CeremonyCookie = None
) -> None:
    """Set a new password with the link of a mail, and the second factor if there is one. Ends all sessions and keys."""
    shown = _shown(wish.code, wish.passkey, ceremony)
    token, password = wish.token.get_secret_value(), wish.password.get_secret_value()
    keep_device(farm, response, farm.password_reset.complete(token, password, shown, browser))
    forget_session(response)


@router.post("/auth/change-password", status_code=204, responses=problem_responses(401, 403, 415, 422, 429))
def change_password(wish: ChangePassword, farm: FarmDep, caller: CallerDep, browser: BrowserDep) -> None:
    """Ends all other sessions."""
    present, new = wish.password.get_secret_value(), wish.new_password.get_secret_value()
    farm.identity.change_password(caller, present, new, browser)


@router.post("/auth/sign-out", status_code=204, responses=problem_responses(403))
def sign_out(request: Request, farm: FarmDep, response: Response) -> None:
    """End the session, if there is one."""
    farm.identity.sign_out(request.cookies.get(SESSION_COOKIE))
    forget_session(response)


@router.post("/auth/sign-out-everywhere", status_code=204, responses=problem_responses(401, 403))
def sign_out_everywhere(farm: FarmDep, user: UserDep, response: Response) -> None:
    """End all sessions of this user: in browsers, and with terminals."""
    with farm.database.write(user.tenant_id) as session:
        farm.identity.sign_out_everywhere(session, user)
        farm.accounts.end_access_of_user(session, owner_of(user))
    forget_session(response)


@me_router.get("/me", responses=problem_responses(401, 403))
def get_me(farm: FarmDep, user: UserDep) -> UserOut:
    return present_user(farm, user)


def _signed_in(farm: Farm, response: Response, signed_in: SignedIn) -> UserOut:
    keep_session(farm, response, signed_in)
    return present_user(farm, signed_in.user)


def _shown(code: SecretStr | None, passkey: ShownCredential | None, ceremony: str | None) -> Shown:
    return Shown(
        code=code.get_secret_value() if code else None,
        passkey=passkey.as_answer() if passkey else None,
        holder=holder_of(ceremony),
    )
