"""Table of the rates that differ from the farm's."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow


class TenantLimits(TenantRow, Base):
    """What a tenant's plan gives it instead of the farm's own rates; None keeps the farm's."""

    __tablename__ = "tenant_limits"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    requests_of_key: Mapped[str | None] = mapped_column(String(16))
    requests_of_user: Mapped[str | None] = mapped_column(String(16))
    requests_of_tenant: Mapped[str | None] = mapped_column(String(16))
    streams_of_user: Mapped[int | None]
    streams_of_tenant: Mapped[int | None]
