"""Tables of pools, and of what tenants want of the nodes for their terminals."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import UtcDateTime
from control_plane.placement.decision import PoolStrategy


class Pool(Base):
    """Nodes that are placed alike. The pool `default` needs no row. Every node is in exactly one."""

    __tablename__ = "pools"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    strategy: Mapped[str] = mapped_column(String(16), default=PoolStrategy.SPREAD)
    labels: Mapped[dict[str, str]] = mapped_column(JSON)
    """Every terminal of this pool demands them of its node, besides its own."""
    terminal_memory: Mapped[int | None] = mapped_column(BigInteger)
    """Bytes that a terminal is expected to take; None: as usual for its runtime."""
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TenantPlacement(TenantRow, Base):
    """What holds for all terminals of a tenant. Without a row: the pool `default`, on all nodes that take them."""

    __tablename__ = "tenant_placements"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    pool: Mapped[str] = mapped_column(String(40))
    only_dedicated: Mapped[bool]
    """Only on nodes that are kept for the tenant."""
