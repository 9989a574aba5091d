"""Tables of bots, of what the agents observed of them, and of their logs."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import Money, UtcDateTime


class Bot(TenantRow, Base):
    """What should be: a strategy set to run on one account. Deleted rows keep their magic number taken."""

    __tablename__ = "bots"
    __table_args__ = (UniqueConstraint("account_id", "magic"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    name: Mapped[str] = mapped_column(String(60))
    strategy: Mapped[str] = mapped_column(String(64))
    symbol: Mapped[str] = mapped_column(String(64))
    timeframe: Mapped[str] = mapped_column(String(8))
    volume: Mapped[float]
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    magic: Mapped[int] = mapped_column(BigInteger)
    revision: Mapped[int]
    """Rises with each change of settings and each start; the agent restarts a bot whose revision changed."""
    paper: Mapped[bool]
    """Its orders are filled by itself at live prices, and never sent."""
    intent: Mapped[str] = mapped_column(String(16))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class BotChange(TenantRow, Base):
    """One change of a bot's settings, by whom and from what to what. Never changed itself."""

    __tablename__ = "bot_changes"
    __table_args__ = (Index(None, "bot_id", "at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    bot_id: Mapped[str] = mapped_column(ForeignKey("bots.id"))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    by: Mapped[str] = mapped_column(String(40))
    """User id."""
    revision: Mapped[int]
    """The bot's, from this change on."""
    before: Mapped[dict[str, Any]] = mapped_column(JSON)
    after: Mapped[dict[str, Any]] = mapped_column(JSON)


class BotObservation(TenantRow, Base):
    """What is. Written from the reports of the node that runs the bot."""

    __tablename__ = "bot_observations"

    bot_id: Mapped[str] = mapped_column(ForeignKey("bots.id"), primary_key=True)
    revision: Mapped[int]
    phase: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(300))
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    restarts: Mapped[int]


class PaperDeal(TenantRow, Base):
    """What a bot on paper has filled by itself. Never changed, and kept as deals are."""

    __tablename__ = "paper_deals"
    __table_args__ = (
        UniqueConstraint("bot_id", "event_id"),
        Index(None, "bot_id", "at", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    bot_id: Mapped[str] = mapped_column(ForeignKey("bots.id"))
    event_id: Mapped[str] = mapped_column(String(120))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    broker_time: Mapped[int] = mapped_column(BigInteger)
    """In seconds of the broker's wall clock."""
    position: Mapped[int] = mapped_column(BigInteger)
    """A number that the bot gave; it is no ticket of the broker's."""
    entry: Mapped[str] = mapped_column(String(4))
    side: Mapped[str] = mapped_column(String(4))
    symbol: Mapped[str] = mapped_column(String(64))
    volume: Mapped[float]
    price: Mapped[float]
    profit: Mapped[Decimal] = mapped_column(Money)


class BotLogLine(TenantRow, Base):
    __tablename__ = "bot_log_lines"
    __table_args__ = (
        UniqueConstraint("bot_id", "event_id"),
        Index(None, "bot_id", "at", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    bot_id: Mapped[str] = mapped_column(ForeignKey("bots.id"))
    event_id: Mapped[str] = mapped_column(String(120))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    level: Mapped[str] = mapped_column(String(8))
    text: Mapped[str] = mapped_column(String(2000))
