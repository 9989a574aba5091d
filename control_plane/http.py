"""What every route may ask for: the farm, and who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, ParamSpec, TypeVar

from anyio import to_thread
from fastapi import Depends, Header, Request
from fastapi.dependencies.models import Dependant

from control_plane.container import Farm
from control_plane.errors import ForbiddenError, UnauthorisedError
from control_plane.identity.cookies import DEVICE_COOKIE, SESSION_COOKIE
from control_plane.identity.model import User
from control_plane.identity.owner import Owner
from control_plane.identity.scopes import needed_scope
from control_plane.identity.second_factor import needs_role_proof
from control_plane.identity.service import owner_of
from control_plane.identity.sessions import Browser, Caller
from control_plane.limits.headers import note_standing
from control_plane.limits.lanes import lane_of
from control_plane.limits.rate import Standing
from control_plane.limits.service import require

IDEMPOTENCY_KEY = "Idempotency-Key"
KEY_LENGTH = 200

IdempotencyHeader = Annotated[
    str,
    Header(
        alias=IDEMPOTENCY_KEY,
        min_length=1,
        max_length=KEY_LENGTH,
        description="Made by the client, new for each wish to trade. The same key gives the same order.",
    ),
]


_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")


async def aside(
    function: Callable[_Arguments, _Result], *args: _Arguments.args, **options: _Arguments.kwargs
) -> _Result:
    """What `function` returns, without holding up the event loop: in a thread, or at once where there is no loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return function(*args, **options)
    return await to_thread.run_sync(partial(function, *args, **options))


async def get_farm(request: Request) -> Farm:
    """Async since it would otherwise wait for a thread."""
    farm: Farm = request.app.state.farm
    return farm


FarmDep = Annotated[Farm, Depends(get_farm)]


async def get_browser(request: Request) -> Browser:
    """From where the request comes."""
    return Browser(
        address=_address(request),
        user_agent=request.headers.get("user-agent", ""),
        device_secret=request.cookies.get(DEVICE_COOKIE),
    )


BrowserDep = Annotated[Browser, Depends(get_browser)]


def authenticate(request: Request, farm: Farm) -> Caller:
    """By a key for programs if the request has one, else by the session. Raises UnauthorisedError, ForbiddenError."""
    header = request.headers.get("authorization")
    if header is not None:
        return farm.api_keys.authenticate(header, needed_scope(request.method, request.scope["route"].tags))
    return farm.sessions.authenticate(request.cookies.get(SESSION_COOKIE))


async def get_caller(request: Request, farm: FarmDep) -> Caller:
    """Who asks, within their limits; found out once for each request. Async, as all of these that need no thread.

    Raises UnauthorisedError, ForbiddenError, RateLimitedError.
    """
    known: Caller | None = getattr(request.state, "caller", None)
    return known if known is not None else await aside(_find_out_caller, request, farm)


def _find_out_caller(request: Request, farm: Farm) -> Caller:
    try:
        caller = authenticate(request, farm)
    except (UnauthorisedError, ForbiddenError):
        _bound(request, farm.limits.stranger(_address(request)))
        raise
    _bound(request, farm.limits.caller(caller, lane_of(request.method, request.scope["route"].path)))
    request.state.caller = caller
    return caller


async def bound_strangers(request: Request, farm: FarmDep) -> None:
    """For every route: where nobody is asked who they are, their address counts. Raises RateLimitedError."""
    if not asks_who(request.scope["route"].dependant):
        _bound(request, await aside(farm.limits.stranger, _address(request)))


def asks_who(dependant: Dependant) -> bool:
    """Whether a route wants to know its caller."""
    return dependant.call is get_caller or any(asks_who(each) for each in dependant.dependencies)


def _bound(request: Request, standing: Standing) -> None:
    note_standing(request.scope, standing)
    require(standing)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


CallerDep = Annotated[Caller, Depends(get_caller)]


async def get_user(caller: CallerDep) -> User:
    return caller.user


UserDep = Annotated[User, Depends(get_user)]


async def get_owner(caller: CallerDep, farm: FarmDep) -> Owner:
    """Whose things the caller may touch. Raises ForbiddenError for staff without a second factor."""
    if needs_role_proof(caller):
        await aside(_require_role_proof, caller, farm)
    return owner_of(caller.user)


async def get_operator(caller: CallerDep, farm: FarmDep) -> str:
    """The e-mail address of a user who runs the fleet. Raises ForbiddenError for everybody else."""
    if not farm.identity.runs_the_fleet(caller.user):
        raise ForbiddenError("This is for the operator's team.", code="role_required")
    await aside(_require_role_proof, caller, farm)
    return caller.user.email


def _require_role_proof(caller: Caller, farm: Farm) -> None:
    """Raises ForbiddenError."""
    with farm.database.read(caller.user.tenant_id) as session:
        farm.second_factors.require_role_proof(session, caller)


OperatorDep = Annotated[str, Depends(get_operator)]
OwnerDep = Annotated[Owner, Depends(get_owner)]
