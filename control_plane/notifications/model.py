"""Table of mails."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import UtcDateTime


class Mail(TenantRow, Base):
    """A mail to send, and whether its link may still be used. The text is written when it is sent and not kept."""

    __tablename__ = "mails"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    recipient: Mapped[str] = mapped_column(String(254), index=True)
    subject_id: Mapped[str] = mapped_column(String(40))
    """The row that it is about; empty when only the address is known."""
    secret_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    """Of the secret in its link; each attempt to send makes a new one."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    """Not sent and not redeemed after this."""
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
