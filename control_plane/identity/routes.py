"""HTTP of sign-up, sign-in and sign-out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from control_plane.http import SESSION_COOKIE, FarmDep, UserDep
from control_plane.identity.model import User
from control_plane.identity.schemas import SignIn, SignUp, UserOut
from control_plane.identity.service import SESSION_LIFETIME, SignedIn, owner_of
from control_plane.problems import problem_responses

router = APIRouter(tags=["identity"])


@router.post("/auth/sign-up", status_code=201, responses=problem_responses(403, 409, 415, 422))
def sign_up(wish: SignUp, farm: FarmDep, response: Response) -> UserOut:
    """Make a user and sign them in."""
    signed_in = farm.identity.sign_up(wish.email, wish.password.get_secret_value(), wish.display_name)
    return _signed_in(farm, response, signed_in)


@router.post("/auth/sign-in", responses=problem_responses(401, 403, 415, 422, 429))
def sign_in(wish: SignIn, farm: FarmDep, response: Response) -> UserOut:
    """Open a session. Failed attempts make the next one wait."""
    signed_in = farm.identity.sign_in(wish.email, wish.password.get_secret_value())
    return _signed_in(farm, response, signed_in)


@router.post("/auth/sign-out", status_code=204, responses=problem_responses(403))
def sign_out(request: Request, farm: FarmDep, response: Response) -> None:
    """End the session, if there is one."""
    farm.identity.sign_out(request.cookies.get(SESSION_COOKIE))
    response.delete_cookie(SESSION_COOKIE, path="/")


@router.post("/auth/sign-out-everywhere", status_code=204, responses=problem_responses(401, 403))
def sign_out_everywhere(farm: FarmDep, user: UserDep, response: Response) -> None:
    """End all sessions of this user: in browsers, and with terminals."""
    with farm.database.write(user.tenant_id) as session:
        farm.identity.sign_out_everywhere(session, user.id)
        farm.accounts.end_access_of_user(session, owner_of(user))
    response.delete_cookie(SESSION_COOKIE, path="/")


@router.get("/me", responses=problem_responses(401))
def get_me(user: UserDep) -> UserOut:
    return _present(user)


def _signed_in(farm: FarmDep, response: Response, signed_in: SignedIn) -> UserOut:
    response.set_cookie(
        SESSION_COOKIE,
        signed_in.secret,
        max_age=int(SESSION_LIFETIME.total_seconds()),
        path="/",
        secure=farm.settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )
    return _present(signed_in.user)


def _present(user: User) -> UserOut:
    return UserOut(
        id=user.id,
        email=user.email,
        display_name=user.display_name,
        role=user.role,
        tenant_id=user.tenant_id,
        created_at=user.created_at,
    )
