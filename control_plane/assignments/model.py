"""Table of assignments."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.assignments.relocation import LeasePolicy
from control_plane.db.base import Base, TenantRow
from control_plane.db.types import UtcDateTime


class Assignment(TenantRow, Base):
    """Terminal T runs on node N under an epoch. At most one assignment of a terminal is alive."""

    __tablename__ = "assignments"
    __table_args__ = (
        UniqueConstraint("terminal_id", "epoch"),
        Index(
            "uq_assignments_alive",
            "terminal_id",
            unique=True,
            sqlite_where=text("released_at IS NULL"),
            postgresql_where=text("released_at IS NULL"),
        ),
        Index(None, "node_id", "released_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    terminal_id: Mapped[str] = mapped_column(ForeignKey("terminals.id"))
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id"))
    epoch: Mapped[int]
    runtime: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    reserved_at: Mapped[datetime] = mapped_column(UtcDateTime)
    released_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Set exactly when `state` becomes released."""
    lease_policy: Mapped[str] = mapped_column(String(16), default=LeasePolicy.KEEP_RUNNING)
    """`self_fence` only while every snapshot that the node may hold of this assignment says so."""
    unproven: Mapped[bool] = mapped_column(default=False)
    """True while the terminal may run elsewhere, of which an outdated database knows nothing: it is not started."""
    ended_by: Mapped[str] = mapped_column(String(16), default="")
    """The proof on which it was released; empty while it lives."""
    memory: Mapped[int] = mapped_column(BigInteger, default=0)
    """Bytes that are reserved for it; 0 with places that were given before memory was counted."""
    explanation: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """Why it is there (`placement.explanation.Explanation`); None with older places."""
