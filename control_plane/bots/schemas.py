"""Bodies of bots and strategies."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from control_plane.bots.state import BotIntent
from control_plane.trading.schemas import Volume
from node_agent.protocol.messages import BotPhase

LogLevel = Literal["info", "warning", "error"]


class StrategyParameter(BaseModel):
    name: str
    title: str
    help: str
    type: Literal["int", "float"]
    default: int | float
    minimum: int | float
    maximum: int | float


class StrategyOut(BaseModel):
    name: str
    title: str
    description: str
    parameters: list[StrategyParameter]


class StrategyList(BaseModel):
    items: list[StrategyOut]


class CreateBot(BaseModel):
    account_id: str
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    strategy: Annotated[str, StringConstraints(max_length=64)]
    symbol: Annotated[str, StringConstraints(min_length=1, max_length=32)]
    timeframe: Annotated[str, StringConstraints(max_length=4)]
    volume: Volume
    parameters: Annotated[dict[str, int | float], Field(max_length=50)] = {}
    paper: bool = False
    """Its orders are filled by itself at live prices and never sent."""


class UpdateBot(BaseModel):
    """What is absent stays as it is. A bot that runs is started anew with the new settings."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)] | None = None
    strategy: Annotated[str, StringConstraints(max_length=64)] | None = None
    symbol: Annotated[str, StringConstraints(min_length=1, max_length=32)] | None = None
    timeframe: Annotated[str, StringConstraints(max_length=4)] | None = None
    volume: Volume | None = None
    parameters: Annotated[dict[str, int | float], Field(max_length=50)] | None = None
    """All of them; those left out get their defaults."""
    paper: bool | None = None


class BotSettings(BaseModel):
    name: str
    strategy: str
    symbol: str
    timeframe: str
    volume: float
    parameters: dict[str, int | float]
    paper: bool


class BotChangeOut(BaseModel):
    id: str
    at: datetime
    by: str
    """User id."""
    revision: int
    before: BotSettings
    after: BotSettings


class BotOut(BaseModel):
    id: str
    account_id: str
    name: str
    strategy: str
    symbol: str
    timeframe: str
    volume: float
    parameters: dict[str, int | float]
    paper: bool
    magic: int
    intent: BotIntent
    phase: BotPhase
    reason: str
    since: datetime
    restarts: int
    trades: int
    """Positions it has opened; on paper those that were opened on paper."""
    profit: str
    """Of all its deals, with costs, in the account currency; on paper of all closed on paper, without costs."""
    created_at: datetime


class PaperDealOut(BaseModel):
    id: str
    at: datetime
    broker_time: int
    """In seconds of the broker's wall clock."""
    position: int
    """A number that the bot gave; it is no ticket of the broker's."""
    entry: Literal["in", "out"]
    side: Literal["buy", "sell"]
    symbol: str
    volume: float
    price: float
    profit: str
    """In the account currency; 0.00 for one that opens."""
    total: str
    """Sum of all profits up to this one."""


class BotLogLineOut(BaseModel):
    at: datetime
    level: LogLevel
    text: str
