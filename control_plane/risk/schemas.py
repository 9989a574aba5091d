"""Bodies of limits, guards and kill switches. Money as decimal strings in the account currency."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from control_plane.fleet.schemas import Why
from control_plane.risk.limits import Limits
from control_plane.risk.state import KillMode, KillScope, TargetState


class GuardState(StrEnum):
    """What a guard is doing."""

    OFF = "off"
    """No limit is set."""
    PENDING = "pending"
    """Limits are set, and its node has not said yet that it enforces them."""
    WATCHING = "watching"
    TRIPPED = "tripped"
    """A loss limit was hit: nothing is opened until somebody re-arms."""
    KILLED = "killed"
    LOST = "lost"
    """What it must remember cannot be read: nothing is opened until somebody re-arms."""


class PresetOut(BaseModel):
    name: str
    title: str
    description: str
    limits: Limits


class PresetList(BaseModel):
    items: list[PresetOut]


class SetLimits(BaseModel):
    limits: Limits


class LimitDefaultsOut(BaseModel):
    limits: Limits


class UsedOut(BaseModel):
    """How much of a loss limit is used up."""

    switch: Literal["daily_loss", "drawdown", "equity_floor"]
    lost: str
    """Below 0 for a gain."""
    limit: str
    share: float
    """Of the limit, from 0 to 1."""


class TripOut(BaseModel):
    """A loss limit that was hit."""

    switch: Literal["daily_loss", "drawdown", "equity_floor"]
    at: datetime
    lost: str
    limit: str


class KillInForceOut(BaseModel):
    id: str
    scope: KillScope
    mode: KillMode
    reason: str
    thrown_at: datetime


class GuardOut(BaseModel):
    account_id: str
    currency: str | None
    state: GuardState
    words: str
    """What that means for trading now, in plain words."""
    own: Limits
    """As set for this account."""
    defaults: Limits
    """Of the tenant; they hold beside the account's own."""
    in_force: Limits
    used: list[UsedOut]
    trips: list[TripOut]
    kills: list[KillInForceOut]
    positions: int | None
    """As the guard last saw; None when it cannot say."""
    orders: int | None
    closing_problem: str
    """Why something that has to be closed is still open."""
    day_since: datetime | None
    """From when on the day's loss is counted."""
    seen_at: datetime | None
    """When the guard last looked at the account."""


class ThrowKillSwitch(BaseModel):
    mode: KillMode
    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=250)] = ""


class ThrowOverOthers(BaseModel):
    mode: KillMode
    reason: Why


class KillTargetOut(BaseModel):
    """What became of one account."""

    account_id: str
    login: int
    server: str
    state: TargetState
    positions: int | None
    """As last seen; None while nobody knows."""
    orders: int | None
    note: str
    seen_at: datetime | None
    done_at: datetime | None


class KillSwitchOut(BaseModel):
    id: str
    scope: KillScope
    mode: KillMode
    reason: str
    thrown_by_you: bool
    """Who else it was is in the audit trail."""
    thrown_at: datetime
    released_at: datetime | None
    listed: bool
    """Whether all accounts that it concerns are counted already."""
    counts: Annotated[dict[TargetState, int], Field(description="How many accounts have come how far.")]
    finished: bool
    """Every account has answered for itself: nothing more is opened and, where asked, nothing is open."""


class KillReportOut(KillSwitchOut):
    targets: list[KillTargetOut]
