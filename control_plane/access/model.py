"""Table of tickets whose sessions must end."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import UtcDateTime

LONGEST_SESSION = timedelta(hours=12, minutes=5)
"""Gateways end every session after 12 h; a ticket may have been redeemed up to a minute after it was issued."""


class RevokedTicket(TenantRow, Base):
    """Kept, and told to the node, as long as a session opened with the ticket could last."""

    __tablename__ = "revoked_tickets"
    __table_args__ = (Index(None, "node_id", "expires_at"),)

    terminal_id: Mapped[str] = mapped_column(ForeignKey("terminals.id"), primary_key=True)
    ticket_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id"))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
