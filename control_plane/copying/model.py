"""Tables of copy trading."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import Money, UtcDateTime


class CopyInvitation(TenantRow, Base):
    """The owner of an account lets somebody of the same tenant follow it, once, who has the code."""

    __tablename__ = "copy_invitations"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    code_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Copier(TenantRow, Base):
    """One account follows another."""

    __tablename__ = "copiers"
    __table_args__ = (
        Index(None, "leader_account_id"),
        Index(None, "follower_account_id"),
        Index(None, "leader_user_id"),
        Index(None, "follower_user_id"),
        Index(None, "state"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    leader_user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    leader_account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    follower_user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    follower_account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    magic: Mapped[int] = mapped_column(BigInteger)
    """Of all its orders at the follower: positions with another one are never touched."""
    state: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str] = mapped_column(String(300))
    """Why it has stopped by itself; empty otherwise."""
    revision: Mapped[int]
    started: Mapped[bool]
    """Whether the leader's positions of the start have been looked at."""
    refusals: Mapped[int]
    """In a row."""
    peak_equity: Mapped[Decimal | None] = mapped_column(Money)
    """The highest of the follower since the start."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class CopyLink(TenantRow, Base):
    """One position of the leader, and what it is at the follower."""

    __tablename__ = "copy_links"

    copier_id: Mapped[str] = mapped_column(ForeignKey("copiers.id"), primary_key=True)
    leader_ticket: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    follower_ticket: Mapped[int] = mapped_column(BigInteger)
    """0 until it is known."""
    state: Mapped[str] = mapped_column(String(12))
    symbol: Mapped[str] = mapped_column(String(64))
    leader_volume: Mapped[float]
    """Lots when it was copied."""
    follower_volume: Mapped[float]
    """Lots that were opened."""
    steps: Mapped[int]
    """How many steps it has had: the next one has this number."""
    note: Mapped[str] = mapped_column(String(300))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CopyStep(TenantRow, Base):
    """One order at the follower, written down before it is placed."""

    __tablename__ = "copy_steps"
    __table_args__ = (Index(None, "copier_id", "state"), Index(None, "copier_id", "created_at"))

    copier_id: Mapped[str] = mapped_column(ForeignKey("copiers.id"), primary_key=True)
    leader_ticket: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    symbol: Mapped[str] = mapped_column(String(64))
    side: Mapped[str] = mapped_column(String(8))
    volume: Mapped[float]
    stop_loss: Mapped[float | None]
    take_profit: Mapped[float | None]
    follower_ticket: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(String(300))
    order_id: Mapped[str] = mapped_column(String(40))
    leader_price: Mapped[float]
    price: Mapped[float]
    slippage_points: Mapped[float | None]
    """How much worse than the leader's price; negative when better. Of openings."""
    lag_ms: Mapped[int | None]
    """From the leader's deal until the follower's order was settled, by the clock of this control plane."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
