"""Table of broker servers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.brokers.state import ServerKind, Source
from control_plane.db.base import Base
from control_plane.db.types import UtcDateTime


class BrokerServer(Base):
    """A trade server as MT5 names it. The directory is shared by all tenants."""

    __tablename__ = "broker_servers"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    company: Mapped[str] = mapped_column(String(100))
    simulated_address: Mapped[str | None] = mapped_column(String(260))
    """`host:port` of a simulated broker; None for a real one, whose address the terminal knows."""
    display_name: Mapped[str] = mapped_column(String(100), default="")
    """What people call it; empty when nobody calls it anything but its name."""
    kind: Mapped[str] = mapped_column(String(8), default=ServerKind.UNKNOWN)
    time_zone: Mapped[str] = mapped_column(String(64), default="")
    """Of its wall clock, as `server_time.parse_zone` reads it; empty when it is not known."""
    source: Mapped[str] = mapped_column(String(16), default=Source.OPERATOR)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
