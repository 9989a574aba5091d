"""Tables of backtests and their reports."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import UtcDateTime


class Backtest(TenantRow, Base):
    """What a user wants tested, and how far it has come. Only whoever runs it writes the columns from `state` on."""

    __tablename__ = "backtests"
    __table_args__ = (Index(None, "account_id", "id"), Index(None, "state", "alive_until"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    strategy: Mapped[str] = mapped_column(String(64))
    symbol: Mapped[str] = mapped_column(String(64))
    timeframe: Mapped[str] = mapped_column(String(8))
    bars: Mapped[int]
    volume: Mapped[float]
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    terms: Mapped[dict[str, Any]] = mapped_column(JSON)
    """Deposit, leverage, commission and spread."""
    ranges: Mapped[dict[str, Any]] = mapped_column(JSON)
    """Values to try by parameter; empty for a single run."""
    objective: Mapped[str] = mapped_column(String(32))
    walk_steps: Mapped[int]
    cancel_asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    state: Mapped[str] = mapped_column(String(16))
    progress: Mapped[float]
    """Share that is done, 0 to 1."""
    problem: Mapped[str] = mapped_column(String(300))
    summary: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    attempts: Mapped[int]
    alive_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When its process counts as gone unless it writes again."""
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class BacktestReport(TenantRow, Base):
    """Everything that came of it; apart, since lists do not show it."""

    __tablename__ = "backtest_reports"

    backtest_id: Mapped[str] = mapped_column(ForeignKey("backtests.id"), primary_key=True)
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
