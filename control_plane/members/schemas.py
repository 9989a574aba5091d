"""What those who look after people see of them. No balances, no orders, no passwords."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from control_plane.entitlements.plans import Plan
from control_plane.fleet.schemas import Because
from control_plane.identity.state import Role
from control_plane.terminals.schemas import TerminalOut


class MemberOut(BaseModel):
    id: str
    email: str
    display_name: str
    role: Role
    plan: Plan | None
    """null: nothing is limited."""
    created_at: datetime


class MemberAccountOut(BaseModel):
    """A trading account as support sees it: whether its terminal runs, and why not."""

    id: str
    label: str
    login: int
    server: str
    terminal: TerminalOut


class MemberAccountList(BaseModel):
    items: list[MemberAccountOut]


class SetMemberRole(Because):
    role: Role


class SetMemberPlan(Because):
    plan: Plan | None
    """null: nothing is limited."""
