"""Tables of the strategies that users have brought, and of their versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import UtcDateTime


class CustomStrategy(TenantRow, Base):
    __tablename__ = "custom_strategies"
    __table_args__ = (Index(None, "user_id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(60))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class StrategyVersion(TenantRow, Base):
    """What was uploaded at one time. Never changed; bots name it by its id. Its bytes are among the files."""

    __tablename__ = "strategy_versions"
    __table_args__ = (UniqueConstraint("strategy_id", "number"), Index(None, "sha256"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    strategy_id: Mapped[str] = mapped_column(ForeignKey("custom_strategies.id"))
    number: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int]
    """Bytes as packed."""
    kind: Mapped[str] = mapped_column(String(16))
    entry: Mapped[str] = mapped_column(String(120))
    title: Mapped[str] = mapped_column(String(500))
    description: Mapped[str] = mapped_column(String(500))
    parameters: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """As the code declares them: checked, and nothing but data."""
    notes: Mapped[str] = mapped_column(String(1000))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
