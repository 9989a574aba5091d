"""Table of broker servers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base
from control_plane.db.types import UtcDateTime


class BrokerServer(Base):
    """A trade server as MT5 names it. The directory is shared by all tenants."""

    __tablename__ = "broker_servers"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    company: Mapped[str] = mapped_column(String(100))
    simulated_address: Mapped[str | None] = mapped_column(String(260))
    """`host:port` of a simulated broker; None for a real one, whose address the terminal knows."""
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
