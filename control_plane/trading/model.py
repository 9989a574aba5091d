"""Tables of order intents, deals and equity."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
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
    """One `TradeDeal` of the broker: the trade log. Never changed once written."""

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
