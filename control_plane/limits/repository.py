"""All SQL of the rates of tenants."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.identity.model import Tenant
from control_plane.limits.model import TenantLimits


def of_tenant(session: Session, tenant_id: str) -> TenantLimits | None:
    return session.get(TenantLimits, tenant_id)


def every(session: Session) -> Sequence[TenantLimits]:
    return session.scalars(select(TenantLimits).order_by(TenantLimits.tenant_id)).all()


def tenant(session: Session, name: str) -> Tenant | None:
    return session.scalars(select(Tenant).where(Tenant.name == name)).one_or_none()


def tenants(session: Session) -> Sequence[Tenant]:
    return session.scalars(select(Tenant).order_by(Tenant.name)).all()
