"""What every route may ask for: the farm, and the signed-in user."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request

from control_plane.container import Farm
from control_plane.errors import ForbiddenError
from control_plane.identity.model import User
from control_plane.identity.owner import Owner
from control_plane.identity.service import owner_of

SESSION_COOKIE = "mt5farm_session"

IdempotencyHeader = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Made by the client, new for each wish to trade. The same key gives the same order.",
    ),
]


async def get_farm(request: Request) -> Farm:
    """Async since it would otherwise wait for a thread."""
    farm: Farm = request.app.state.farm
    return farm


FarmDep = Annotated[Farm, Depends(get_farm)]


def get_user(request: Request, farm: FarmDep) -> User:
    """Raises UnauthorisedError."""
    return farm.identity.authenticate(request.cookies.get(SESSION_COOKIE))


UserDep = Annotated[User, Depends(get_user)]


def get_owner(user: UserDep) -> Owner:
    return owner_of(user)


def get_operator(user: UserDep, farm: FarmDep) -> str:
    """The e-mail address of a user who runs the fleet. Raises ForbiddenError for everybody else."""
    if not farm.identity.runs_the_fleet(user):
        raise ForbiddenError("This is for the operator's team.", code="role_required")
    return user.email


OperatorDep = Annotated[str, Depends(get_operator)]
OwnerDep = Annotated[Owner, Depends(get_owner)]
