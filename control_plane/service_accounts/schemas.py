"""Bodies of service accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, StringConstraints

from control_plane.fleet.schemas import Because
from control_plane.identity.state import Role


class MakeServiceAccount(BaseModel):
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    role: Role = Role.TRADER
    """`trader`, `support` or `ops`; what its keys may do at most."""


class DisableServiceAccount(Because):
    pass


class ServiceAccountOut(BaseModel):
    id: str
    name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None
    """Its keys have ended then."""


class ServiceAccountList(BaseModel):
    items: list[ServiceAccountOut]
