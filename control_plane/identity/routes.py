"""HTTP of sign-up, sign-in, sign-out and passwords."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from control_plane.api_route import ApiRoute
from control_plane.container import Farm
from control_plane.http import DEVICE_COOKIE, SESSION_COOKIE, BrowserDep, CallerDep, FarmDep, UserDep
from control_plane.identity.model import User
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
from control_plane.identity.service import owner_of
from control_plane.identity.sessions import DEVICE_LIFETIME, SESSION_LIFETIME, SignedIn
from control_plane.identity.state import needs_second_factor
from control_plane.problems import problem_responses

router = APIRouter(tags=["identity"], route_class=ApiRoute)
me_router = APIRouter(tags=["me"], route_class=ApiRoute)
_DEVICE_PATH = "/api/v1/auth"


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
def sign_in(wish: SignIn, farm: FarmDep, browser: BrowserDep, response: Response) -> UserOut:
    """Open a session. Failed attempts make the next one wait, except on a device that the user has signed in with."""
    code = wish.code.get_secret_value() if wish.code else None
    signed_in = farm.identity.sign_in(wish.email, wish.password.get_secret_value(), code, browser)
    return _signed_in(farm, response, signed_in)


@router.post("/auth/step-up", status_code=204, responses=problem_responses(400, 401, 403, 415, 422, 429))
def step_up(wish: StepUp, farm: FarmDep, caller: CallerDep, browser: BrowserDep) -> None:
    """Prove once more that it is you, for ten minutes, when an answer was `step_up_required`."""
    password = wish.password.get_secret_value() if wish.password else None
    farm.identity.step_up(caller, password, wish.code.get_secret_value() if wish.code else None, browser)


@router.post("/auth/request-reset", status_code=202, responses=problem_responses(403, 415, 422, 429))
def request_reset(wish: RequestReset, farm: FarmDep, browser: BrowserDep) -> MailOut:
    """Send a mail with a link to set a new password. The answer does not tell whether the address has a user."""
    farm.password_reset.request(wish.email, browser)
    return MailOut(recipient=wish.email)


@router.post("/auth/reset-password", status_code=204, responses=problem_responses(400, 401, 403, 415, 422, 429))
def reset_password(wish: ResetPassword, farm: FarmDep, browser: BrowserDep, response: Response) -> None:
    """Set a new password with the link of a mail, and the second factor if there is one. Ends all sessions and keys."""
    code = wish.code.get_secret_value() if wish.code else None
    token, password = wish.token.get_secret_value(), wish.password.get_secret_value()
    _remember_device(farm, response, farm.password_reset.complete(token, password, code, browser))
    response.delete_cookie(SESSION_COOKIE, path="/")


@router.post("/auth/change-password", status_code=204, responses=problem_responses(401, 403, 415, 422, 429))
def change_password(wish: ChangePassword, farm: FarmDep, caller: CallerDep, browser: BrowserDep) -> None:
    """Ends all other sessions."""
    present, new = wish.password.get_secret_value(), wish.new_password.get_secret_value()
    farm.identity.change_password(caller, present, new, browser)


@router.post("/auth/sign-out", status_code=204, responses=problem_responses(403))
def sign_out(request: Request, farm: FarmDep, response: Response) -> None:
    """End the session, if there is one."""
    farm.identity.sign_out(request.cookies.get(SESSION_COOKIE))
    response.delete_cookie(SESSION_COOKIE, path="/")


@router.post("/auth/sign-out-everywhere", status_code=204, responses=problem_responses(401, 403))
def sign_out_everywhere(farm: FarmDep, user: UserDep, response: Response) -> None:
    """End all sessions of this user: in browsers, and with terminals."""
    with farm.database.write(user.tenant_id) as session:
        farm.identity.sign_out_everywhere(session, user)
        farm.accounts.end_access_of_user(session, owner_of(user))
    response.delete_cookie(SESSION_COOKIE, path="/")


@me_router.get("/me", responses=problem_responses(401, 403))
def get_me(farm: FarmDep, user: UserDep) -> UserOut:
    return _present(farm, user)


def _signed_in(farm: Farm, response: Response, signed_in: SignedIn) -> UserOut:
    response.set_cookie(
        SESSION_COOKIE,
        signed_in.secret,
        max_age=int(SESSION_LIFETIME.total_seconds()),
        path="/",
        secure=farm.settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )
    _remember_device(farm, response, signed_in.device_secret)
    return _present(farm, signed_in.user)


def _remember_device(farm: Farm, response: Response, secret: str) -> None:
    response.set_cookie(
        DEVICE_COOKIE,
        secret,
        max_age=int(DEVICE_LIFETIME.total_seconds()),
        path=_DEVICE_PATH,
        secure=farm.settings.secure_cookies,
        httponly=True,
        samesite="strict",
    )


def _present(farm: Farm, user: User) -> UserOut:
    with farm.database.read(user.tenant_id) as session:
        enrolled = farm.second_factors.is_enrolled(session, user.id)
    return UserOut(
        id=user.id,
        email=user.email,
        display_name=user.display_name,
        role=user.role,
        tenant_id=user.tenant_id,
        created_at=user.created_at,
        second_factor=enrolled,
        second_factor_missing=needs_second_factor(user.role) and not enrolled,
    )
