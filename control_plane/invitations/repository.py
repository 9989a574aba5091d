"""All SQL of invitations."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Select, func, select, update
from sqlalchemy.orm import Session

from control_plane.identity.model import Tenant
from control_plane.invitations.model import Invitation


def open_ones(session: Session, tenant_id: str, now: datetime) -> list[Invitation]:
    """Those that can still be accepted, the newest first."""
    query = _open(now).where(Invitation.tenant_id == tenant_id)
    return list(session.scalars(query.order_by(Invitation.id.desc())))


def count_open(session: Session, tenant_id: str, now: datetime) -> int:
    query = _open(now).where(Invitation.tenant_id == tenant_id)
    return session.scalar(select(func.count()).select_from(query.subquery())) or 0


def open_one(session: Session, invitation_id: str, now: datetime) -> tuple[Invitation, Tenant] | None:
    """With the tenant that invites."""
    query = (
        select(Invitation, Tenant)
        .join(Tenant, Tenant.id == Invitation.tenant_id)
        .where(Invitation.id == invitation_id, *_is_open(now))
    )
    row = session.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def revoke(session: Session, tenant_id: str, invitation_id: str, now: datetime) -> Invitation | None:
    """None when the tenant has no such invitation that is open."""
    query = update(Invitation).where(Invitation.id == invitation_id, Invitation.tenant_id == tenant_id, *_is_open(now))
    return session.scalars(query.values(revoked_at=now).returning(Invitation)).one_or_none()


def revoke_earlier(session: Session, tenant_id: str, email: str, now: datetime) -> None:
    """The newest invitation of an address is the one that counts."""
    query = update(Invitation).where(Invitation.tenant_id == tenant_id, Invitation.email == email, *_is_open(now))
    session.execute(query.values(revoked_at=now))


def _open(now: datetime) -> Select[Invitation]:
    return select(Invitation).where(*_is_open(now))


def _is_open(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None), Invitation.expires_at > now)
