"""Tables of terminals: the wish and the observation have different writers, so they are different tables."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base
from control_plane.db.types import UtcDateTime


class Terminal(Base):
    """What should be. Written by users and the reconciler."""

    __tablename__ = "terminals"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), unique=True)
    intent: Mapped[str] = mapped_column(String(16), index=True)
    hold: Mapped[str] = mapped_column(String(16))
    last_epoch: Mapped[int]
    """Highest epoch ever given out for this terminal; never lowered."""
    placement_note: Mapped[str] = mapped_column(String(300))
    """Why the terminal runs where it runs, or why it waits."""
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TerminalObservation(Base):
    """What is. Written from the reports of the node that holds the current epoch, by nobody else."""

    __tablename__ = "terminal_observations"

    terminal_id: Mapped[str] = mapped_column(ForeignKey("terminals.id"), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    epoch: Mapped[int]
    phase: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(32))
    detail: Mapped[str] = mapped_column(String(500))
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    last_answer_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    restarts: Mapped[int]
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime)
