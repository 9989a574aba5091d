"""Tables of alerts: what users want to be told, what they were told, and how it went."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import Money, UtcDateTime


class AlertPreferences(TenantRow, Base):
    """What one user wants; without a row everything is as by default."""

    __tablename__ = "alert_preferences"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    modes: Mapped[dict[str, dict[str, str]]] = mapped_column(JSON)
    """By event, then channel; what is not in there is as by default."""
    time_zone: Mapped[str] = mapped_column(String(64))
    quiet_from: Mapped[int | None]
    """Minutes after midnight in the time zone; None without quiet hours."""
    quiet_until: Mapped[int | None]
    digest: Mapped[str] = mapped_column(String(8))
    stale_minutes: Mapped[int]
    drawdown_percent: Mapped[float]
    margin_level_percent: Mapped[float]
    report_minute: Mapped[int]
    """Of the day in the time zone, when the daily report is written."""
    revision: Mapped[int]
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AlertNotice(TenantRow, Base):
    """Something that a user is told. `resolved_at` is when it stopped to hold, for what holds for a while."""

    __tablename__ = "alert_notices"
    __table_args__ = (
        UniqueConstraint("user_id", "key"),
        Index("ix_alert_notices_newest", "user_id", "raised_at", "id"),
        Index(None, "lasting", "resolved_at"),
        Index(None, "raised_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    event: Mapped[str] = mapped_column(String(24))
    subject_id: Mapped[str] = mapped_column(String(40))
    account_id: Mapped[str] = mapped_column(String(40))
    """Empty for what is about no account."""
    key: Mapped[str] = mapped_column(String(160))
    """Made from the fact, so that it is told once however often it is seen."""
    title: Mapped[str] = mapped_column(String(160))
    text: Mapped[str] = mapped_column(String(1000))
    lasting: Mapped[bool]
    count: Mapped[int]
    """How often it happened within the time in which it is folded."""
    raised_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)
    resolved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    read_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AlertDelivery(TenantRow, Base):
    """One message to one place outside of the portal."""

    __tablename__ = "alert_deliveries"
    __table_args__ = (
        Index(None, "state", "due_at"),
        Index(None, "endpoint_id", "id"),
        Index(None, "user_id", "state"),
        Index(None, "created_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    notice_id: Mapped[str] = mapped_column(String(40), index=True)
    """Empty for a test."""
    channel: Mapped[str] = mapped_column(String(12))
    part: Mapped[str] = mapped_column(String(12))
    silent: Mapped[bool]
    endpoint_id: Mapped[str | None] = mapped_column(String(40))
    message_id: Mapped[str] = mapped_column(String(40))
    """What the receiver recognises a repetition by: a replay keeps it."""
    body: Mapped[str] = mapped_column(Text)
    """What a webhook is sent, to the letter."""
    state: Mapped[str] = mapped_column(String(12))
    attempts: Mapped[int]
    handed_over: Mapped[bool]
    """Whether a job exists for it."""
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    status_code: Mapped[int | None]
    error: Mapped[str] = mapped_column(String(200))
    milliseconds: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class WebhookEndpoint(TenantRow, Base):
    __tablename__ = "webhook_endpoints"
    __table_args__ = (Index(None, "user_id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    url: Mapped[str] = mapped_column(String(500))
    description: Mapped[str] = mapped_column(String(120))
    state: Mapped[str] = mapped_column(String(12))
    disabled_reason: Mapped[str] = mapped_column(String(200))
    """Empty when it is active, or its owner has disabled it."""
    revision: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class WebhookSecret(TenantRow, Base):
    """What deliveries are signed with. After a rotation the older one signs as well until it expires."""

    __tablename__ = "webhook_secrets"
    __table_args__ = (
        # A data key is not deleted while a secret is sealed with it.
        ForeignKeyConstraint(["tenant_id", "key_version"], ["tenant_keys.tenant_id", "tenant_keys.version"]),
        Index(None, "tenant_id", "key_version"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoints.id"), index=True)
    key_version: Mapped[int]
    sealed_secret: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AlertThreshold(TenantRow, Base):
    """A limit of a user's own. It fires when it begins to hold, and again after it has ceased to."""

    __tablename__ = "alert_thresholds"
    __table_args__ = (Index(None, "user_id"), Index(None, "account_id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[str] = mapped_column(String(24))
    symbol: Mapped[str] = mapped_column(String(64))
    """Empty unless it is about a price."""
    value: Mapped[Decimal] = mapped_column(Money)
    """A price, an amount in the account currency, or per cent."""
    note: Mapped[str] = mapped_column(String(120))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TelegramChat(TenantRow, Base):
    """The chat in which a user is told, once they have proved with a code that it is theirs."""

    __tablename__ = "telegram_chats"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    code_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    code_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    chat_id: Mapped[int | None] = mapped_column(BigInteger)
    linked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
