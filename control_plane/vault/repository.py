"""All SQL of the vault."""

from __future__ import annotations

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from control_plane.vault.model import FarmKey, SealedCredentials, TenantKey


def newest_tenant_key(session: Session, tenant_id: str) -> TenantKey | None:
    query = select(TenantKey).where(TenantKey.tenant_id == tenant_id).order_by(TenantKey.version.desc()).limit(1)
    return session.scalars(query).first()


def tenant_key(session: Session, tenant_id: str, version: int) -> TenantKey | None:
    return session.get(TenantKey, (tenant_id, version))


def credentials(session: Session, tenant_id: str, account_id: str) -> SealedCredentials | None:
    query = select(SealedCredentials).where(
        SealedCredentials.tenant_id == tenant_id, SealedCredentials.account_id == account_id
    )
    return session.scalars(query).one_or_none()


def delete_credentials(session: Session, tenant_id: str, account_id: str) -> None:
    session.execute(
        delete(SealedCredentials).where(
            SealedCredentials.tenant_id == tenant_id, SealedCredentials.account_id == account_id
        )
    )


def farm_key(session: Session, name: str) -> FarmKey | None:
    return session.get(FarmKey, name)


def has_farm_keys(session: Session) -> bool:
    return bool(session.scalar(select(func.count()).select_from(FarmKey)))
