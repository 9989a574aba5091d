"""Bodies of copy trading."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, StringConstraints

from control_plane.copying.state import CopierState, LinkState, Scaling, StepKind, StepState
from control_plane.idempotency.schemas import ShownOnce
from control_plane.trading.state import Side

Symbol = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=32)]
AccountId = Annotated[str, StringConstraints(min_length=1, max_length=40)]
Lots = Annotated[Decimal, Field(gt=0, le=10_000, decimal_places=4)]


class SetCopyRules(BaseModel):
    """How the follower follows."""

    scaling: Scaling = Scaling.MULTIPLIER
    value: Annotated[Decimal, Field(gt=0, le=1000, decimal_places=4)] = Decimal(1)
    """Lots, a factor, or per cent of the follower's equity at risk, by `scaling`."""
    reverse: bool = False
    symbols: Annotated[list[Symbol], Field(max_length=200)] = []
    """Of the leader; only these are copied. Empty for all."""
    symbol_map: Annotated[dict[Symbol, Symbol], Field(max_length=200)] = {}
    """The follower's name by the leader's, where it is not found by itself."""
    most_lots: Lots = Decimal(10)
    most_positions: Annotated[int, Field(ge=1, le=500)] = 20
    most_slippage_points: Annotated[int, Field(ge=0, le=100_000)] | None = None
    most_delay_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    copy_stops: bool = True
    copy_open: bool = False
    """Whether positions that the leader holds at the start are copied."""
    stop_after_refusals: Annotated[int, Field(ge=1, le=100)] = 5
    """In a row."""
    stop_at_drawdown_percent: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = 30.0
    """Of the follower's equity below its highest since the start."""


class StartCopying(BaseModel):
    follower_account_id: AccountId
    leader_account_id: AccountId | None = None
    """One's own account to follow; None with a code."""
    code: Annotated[SecretStr, Field(min_length=10, max_length=100)] | None = None
    """Of somebody who lets one follow."""
    rules: SetCopyRules = SetCopyRules()


class CopyRulesOut(SetCopyRules):
    """The rules as they are."""


class CopierOut(BaseModel):
    id: str
    leads: bool
    """Whether the account that leads is one's own."""
    follows: bool
    """The same of the account that follows."""
    leader_account_id: str | None
    """None for somebody else's."""
    leader_name: str
    follower_account_id: str | None
    follower_name: str
    rules: CopyRulesOut | None
    """None for who only leads."""
    state: CopierState
    reason: str
    started: bool
    """Whether the leader's positions of the start have been looked at: what it opens from now on is copied."""
    open_positions: int
    median_lag_ms: int | None
    """Of the newest hundred openings: from the leader's deal until the follower's order was settled. What the leader
    held at the start does not count."""
    median_slippage_points: float | None
    created_at: datetime
    stopped_at: datetime | None


class CopierList(BaseModel):
    items: list[CopierOut]


class CopiedPositionOut(BaseModel):
    leader_ticket: int
    follower_ticket: int | None
    state: LinkState
    symbol: str
    leader_volume: float
    follower_volume: float
    note: str
    changed_at: datetime


class CopiedPositionList(BaseModel):
    items: list[CopiedPositionOut]


class CopiedTradeOut(BaseModel):
    leader_ticket: int
    number: int
    kind: StepKind
    symbol: str
    side: Side
    volume: float
    state: StepState
    message: str
    order_id: str | None
    leader_price: float
    price: float
    slippage_points: float | None
    lag_ms: int | None
    created_at: datetime
    settled_at: datetime | None


class InviteToCopy(BaseModel):
    account_id: AccountId
    expires_in_days: Annotated[int, Field(ge=1, le=30)] = 7


class CopyInvitationOut(BaseModel):
    id: str
    account_id: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


class CopyInvitationList(BaseModel):
    items: list[CopyInvitationOut]


class CopyInvitationCode(CopyInvitationOut, ShownOnce):
    code: str
    """For the one who may follow; works once."""
