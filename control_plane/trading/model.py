"""Tables of order intents, deals and equity."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import Money, UtcDateTime


class Order(TenantRow, Base):
    """One wish to trade, written down before it is sent and settled exactly once; or a bot's, as its journal tells."""

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("account_id", "client_order_id"),
        Index(None, "account_id", "caller_order_id", unique=True),
        Index(None, "batch_id"),
        Index(None, "account_id", "created_at", "id"),
        Index(None, "state", "look_again_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    client_order_id: Mapped[str] = mapped_column(String(120))
    """The key under which the bridge sends it at most once; the order's own id for orders placed here."""
    caller_order_id: Mapped[str | None] = mapped_column(String(64))
    """What the caller names it by, if they do."""
    batch_id: Mapped[str | None] = mapped_column(String(40))
    """The request for many that it is a part of."""
    principal: Mapped[str] = mapped_column(String(80))
    epoch: Mapped[int]
    """Epoch of the assignment it was sent through."""
    kind: Mapped[str] = mapped_column(String(8))
    type: Mapped[str] = mapped_column(String(16), server_default="market", default="market")
    side: Mapped[str] = mapped_column(String(8))
    symbol: Mapped[str] = mapped_column(String(64))
    volume: Mapped[float]
    wished_price: Mapped[float | None]
    """At which a pending order waits; a market order has none."""
    stop_limit_price: Mapped[float | None]
    expiration: Mapped[str | None] = mapped_column(String(16))
    expires_broker_time: Mapped[int | None] = mapped_column(BigInteger)
    stop_loss: Mapped[float | None]
    take_profit: Mapped[float | None]
    position_ticket: Mapped[int | None] = mapped_column(BigInteger)
    position_by_ticket: Mapped[int | None] = mapped_column(BigInteger)
    pending_ticket: Mapped[int | None] = mapped_column(BigInteger)
    """Of the pending order that is to be changed or cancelled."""
    state: Mapped[str] = mapped_column(String(16))
    retcode: Mapped[int]
    message: Mapped[str] = mapped_column(String(300))
    order_ticket: Mapped[int] = mapped_column(BigInteger)
    deal_ticket: Mapped[int] = mapped_column(BigInteger)
    price: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    look_again_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the settlement loop looks at an order that is not settled."""
    asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When a person was asked to look, since nothing that the farm can see says what became of it."""
    resolved_by: Mapped[str | None] = mapped_column(String(40))
    """Id of the user who has looked, and has said what became of it."""

    @property
    def placed_here(self) -> bool:
        """Not by a bot or a script, whose orders are known from the bridge's journal alone."""
        return self.client_order_id == self.id

    @property
    def asks_person(self) -> bool:
        return self.asked_at is not None and self.settled_at is None


class OrderBatch(TenantRow, Base):
    """One request of a user for many orders, such as to close all positions."""

    __tablename__ = "order_batches"
    __table_args__ = (UniqueConstraint("user_id", "key"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    key: Mapped[str] = mapped_column(String(200))
    request_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class IdempotencyKey(TenantRow, Base):
    """Which order a user's Idempotency-Key made, and for which request."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    order_id: Mapped[str] = mapped_column(ForeignKey("orders.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Deal(TenantRow, Base):
    """One `TradeDeal` of the broker: the trade log. Never changed once written; see `DealCorrection`."""

    __tablename__ = "deals"
    __table_args__ = (
        UniqueConstraint("account_id", "ticket"),
        Index(None, "account_id", "broker_time_msc", "ticket"),
        Index(None, "account_id", "magic"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    ticket: Mapped[int] = mapped_column(BigInteger)
    order_ticket: Mapped[int] = mapped_column(BigInteger)
    position_ticket: Mapped[int] = mapped_column(BigInteger)
    symbol: Mapped[str] = mapped_column(String(64))
    type: Mapped[int]
    entry: Mapped[int]
    reason: Mapped[int]
    volume: Mapped[float]
    price: Mapped[float]
    profit: Mapped[Decimal] = mapped_column(Money)
    commission: Mapped[Decimal] = mapped_column(Money)
    swap: Mapped[Decimal] = mapped_column(Money)
    fee: Mapped[Decimal] = mapped_column(Money)
    magic: Mapped[int] = mapped_column(BigInteger)
    comment: Mapped[str] = mapped_column(String(128))
    external_id: Mapped[str] = mapped_column(String(128))
    broker_time_msc: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[int]
    """Epoch of the assignment that reported it first."""
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)


class EquitySample(TenantRow, Base):
    """Balance and equity at a moment, taken when they change."""

    __tablename__ = "equity_samples"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    broker_time: Mapped[int] = mapped_column(BigInteger)
    balance: Mapped[Decimal] = mapped_column(Money)
    equity: Mapped[Decimal] = mapped_column(Money)


class DealCorrection(TenantRow, Base):
    """The broker has edited a deal. The newest correction of a deal is how it stands now; none is ever changed."""

    __tablename__ = "deal_corrections"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    ticket: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    """1 for the first correction of a deal."""
    before: Mapped[dict[str, Any]] = mapped_column(JSON)
    """What has changed, by field, as it was; money as decimal text."""
    after: Mapped[dict[str, Any]] = mapped_column(JSON)
    epoch: Mapped[int]
    observed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """When the broker's book was read, by the clock of who read it; older news of the same epoch are no news."""
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)


class HistoryOrder(TenantRow, Base):
    """One `TradeOrder` of the broker's history: filled, cancelled, expired or rejected, whoever placed it."""

    __tablename__ = "history_orders"
    __table_args__ = (Index("ix_history_orders_timeline", "account_id", "time_done_msc", "ticket"),)

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    ticket: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    time_setup_msc: Mapped[int] = mapped_column(BigInteger)
    time_done_msc: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[int]
    state: Mapped[int]
    magic: Mapped[int] = mapped_column(BigInteger)
    position_id: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[int]
    volume_initial: Mapped[float]
    volume_current: Mapped[float]
    price_open: Mapped[float]
    sl: Mapped[float]
    tp: Mapped[float]
    symbol: Mapped[str] = mapped_column(String(64))
    comment: Mapped[str] = mapped_column(String(128))
    epoch: Mapped[int]
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PositionSight(TenantRow, Base):
    """All open positions of an account as its terminal last showed them."""

    __tablename__ = "position_sights"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    positions: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """Fields of `OpenPosition` of the agent protocol."""
    epoch: Mapped[int]
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Reconciliation(TenantRow, Base):
    """How the log of one account stands to the broker's book. Written by the loop that compares them; `requested_at`
    alone by users."""

    __tablename__ = "reconciliations"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    epoch: Mapped[int]
    """Of the assignment at the last look."""
    looked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When a comparison was last brought to its end."""
    look_again_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When to look whether what differed still does."""
    suspects: Mapped[list[str]] = mapped_column(JSON)
    """Digests of the differences that the last look saw."""
    problem: Mapped[str] = mapped_column(String(300))
    """Why the last look came to nothing, in a trader's words; empty after a good one."""
    deals: Mapped[int]
    orders: Mapped[int]
    fetched: Mapped[int]
    """Rows that the last comparison had to read from the broker; the rest was alike by its digests."""
    found: Mapped[int]
    """New differences of the last comparison."""


class BookDifference(TenantRow, Base):
    """A difference between log and broker, found once."""

    __tablename__ = "book_differences"
    __table_args__ = (
        UniqueConstraint("account_id", "subject", "kind", "ticket", "digest"),
        Index("ix_book_differences_timeline", "account_id", "found_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    subject: Mapped[str] = mapped_column(String(8))
    kind: Mapped[str] = mapped_column(String(16))
    ticket: Mapped[int] = mapped_column(BigInteger)
    """0 for the balance."""
    digest: Mapped[str] = mapped_column(String(32))
    """Of both sides, so that another edit of the same deal is another difference."""
    here: Mapped[dict[str, Any]] = mapped_column(JSON)
    there: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(8))
    found_at: Mapped[datetime] = mapped_column(UtcDateTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
