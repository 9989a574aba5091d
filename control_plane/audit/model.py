"""Table of what operators did."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import UtcDateTime


class AuditEntry(TenantRow, Base):
    """One deed. Rows are only ever added. Its tenant is the one to whose thing it was done."""

    __tablename__ = "audit_entries"
    __table_args__ = (Index(None, "subject_id", "at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(254))
    """E-mail address of a user, or `local:` and the name on the machine for the command line."""
    action: Mapped[str] = mapped_column(String(40))
    subject_id: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str] = mapped_column(String(300))
