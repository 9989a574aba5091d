"""Table of the outbox."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base
from control_plane.db.types import UtcDateTime


class Job(Base):
    """A slow effect to carry out: its kind, the row it is about, and how often it was tried. Holds no payload."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "state", "run_at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    subject_id: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    """Since it was put, or since a person had it tried again."""
    run_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """When it is due. A worker that takes the job moves it to the end of its claim."""
    announced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When workers elsewhere were last told of it."""
    request_id: Mapped[str] = mapped_column(String(64))
    """Of the request that has set it off; empty when the farm itself has."""
    last_error: Mapped[str] = mapped_column(String(300))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
