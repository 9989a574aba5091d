"""Bodies of backtests."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from control_plane.backtests.state import BacktestState
from control_plane.trading.schemas import Volume

Objective = Literal["net_profit", "profit_factor", "recovery", "bar_sharpe"]
MOST_BARS = 50_000


class ParameterRange(BaseModel):
    """Values to try, both ends included."""

    first: Annotated[float, Field(allow_inf_nan=False)]
    last: Annotated[float, Field(allow_inf_nan=False)]
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class CreateBacktest(BaseModel):
    account_id: str
    strategy: Annotated[str, StringConstraints(max_length=64)]
    symbol: Annotated[str, StringConstraints(min_length=1, max_length=32)]
    timeframe: Annotated[str, StringConstraints(max_length=4)]
    bars: Annotated[int, Field(ge=100, le=MOST_BARS, description="Newest closed bars of the timeframe to test on.")] = (
        5000
    )
    volume: Volume
    parameters: Annotated[dict[str, int | float], Field(max_length=50)] = {}
    deposit: Annotated[Decimal, Field(gt=0, le=Decimal(10**12), max_digits=15, decimal_places=2)] = Decimal(10_000)
    leverage: Annotated[int, Field(ge=1, le=5000)] = 100
    commission: Annotated[Decimal, Field(ge=0, le=Decimal(10**6), max_digits=9, decimal_places=2)] = Decimal(0)
    """What one lot of each deal costs."""
    spread: Annotated[int, Field(ge=0, le=100_000, description="Points; that of the bars unless given.")] | None = None
    ranges: Annotated[dict[str, ParameterRange], Field(max_length=6)] = {}
    """Parameters to search; none for a single run."""
    objective: Objective = "recovery"
    walk_steps: Annotated[int, Field(ge=0, le=20, description="Steps of walking forward; 0 for one search.")] = 0


class BacktestOut(BaseModel):
    id: str
    account_id: str
    strategy: str
    symbol: str
    timeframe: str
    bars: int
    volume: float
    parameters: dict[str, int | float]
    ranges: dict[str, list[int | float]]
    objective: Objective
    walk_steps: int
    state: BacktestState
    cancelling: bool
    progress: float
    problem: str
    """Why it failed; empty otherwise."""
    summary: dict[str, Any] | None
    """Figures of a run, or the best of a search; null until it is done."""
    created_at: datetime
    finished_at: datetime | None


class BacktestReportOut(BaseModel):
    """All that came of it. A run has `statistics`, `curve` and `deals`, a search `trials` or `steps`, and a `note`."""

    id: str
    content: dict[str, Any]
