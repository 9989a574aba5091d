"""Tables of trading accounts and of what their terminals last reported about them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import Money, UtcDateTime


class Account(TenantRow, Base):
    """An MT5 login at a broker server that belongs to one user. Deleted rows stay for the trade log."""

    __tablename__ = "accounts"
    __table_args__ = (
        Index(
            "uq_accounts_user_login",
            "user_id",
            "server",
            "login",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(None, "server", "login"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    label: Mapped[str] = mapped_column(String(60))
    login: Mapped[int] = mapped_column(BigInteger)
    server: Mapped[str] = mapped_column(ForeignKey("broker_servers.name"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AccountSnapshotRow(TenantRow, Base):
    """The newest `account_info()` that a terminal answered; written by the agents only."""

    __tablename__ = "account_snapshots"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    currency: Mapped[str] = mapped_column(String(16))
    balance: Mapped[Decimal] = mapped_column(Money)
    equity: Mapped[Decimal] = mapped_column(Money)
    profit: Mapped[Decimal] = mapped_column(Money)
    margin: Mapped[Decimal] = mapped_column(Money)
    margin_free: Mapped[Decimal] = mapped_column(Money)
    positions: Mapped[int]
    broker_time: Mapped[int] = mapped_column(BigInteger)
    taken_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ConnectionTest(TenantRow, Base):
    """One attempt to log in with credentials that are not connected. Kept for a day.

    Its account is a real one to nodes, vault and broker. To its owner it counts as removed from the start, so nobody
    sees it, trades with it or connects it twice.
    """

    __tablename__ = "connection_tests"
    __table_args__ = (Index(None, "finished_at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), unique=True)
    outcome: Mapped[str] = mapped_column(String(16))
    words: Mapped[str] = mapped_column(String(400))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deadline: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
