"""Bodies of invitations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, EmailStr, Field, StringConstraints

from control_plane.identity.schemas import LinkSecret, NewPassword
from control_plane.identity.state import Role


class Invite(BaseModel):
    email: EmailStr
    role: Role = Role.TRADER
    expires_in_days: Annotated[int, Field(ge=1, le=30)] = 7


class InvitationOut(BaseModel):
    id: str
    email: str
    role: Role
    invited_by: str
    created_at: datetime
    expires_at: datetime


class InvitationList(BaseModel):
    items: list[InvitationOut]


class AcceptInvitation(BaseModel):
    token: LinkSecret
    password: NewPassword
    display_name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
