"""Who may ask about the people of their own tenant, as dependencies of routes."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from control_plane.errors import ForbiddenError
from control_plane.http import CallerDep, FarmDep, aside
from control_plane.identity.model import User
from control_plane.identity.sessions import Caller
from control_plane.identity.state import CARING_ROLES
from control_plane.members.state import MAY_CHANGE


async def get_keeper(caller: CallerDep, farm: FarmDep) -> User:
    """Raises ForbiddenError for those who do not look after others, or have no second factor."""
    if caller.user.role not in CARING_ROLES:
        raise ForbiddenError("This is for those who look after the people of the tenant.", code="role_required")
    return await aside(_with_proof, farm, caller)


async def get_manager(caller: CallerDep, farm: FarmDep) -> User:
    """Raises ForbiddenError for those who give no roles, or have no second factor."""
    if caller.user.role not in MAY_CHANGE:
        raise ForbiddenError("This is for those who give roles.", code="role_required")
    return await aside(_with_proof, farm, caller)


def _with_proof(farm: FarmDep, caller: Caller) -> User:
    with farm.database.read(caller.user.tenant_id) as session:
        farm.second_factors.require_role_proof(session, caller)
    return caller.user


Keeper = Annotated[User, Depends(get_keeper)]
Manager = Annotated[User, Depends(get_manager)]
