"""All SQL of service accounts, which are users of their own kind."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from control_plane.identity.model import User
from control_plane.identity.state import UserKind


def of_tenant(session: Session, tenant_id: str) -> list[User]:
    """The newest first, disabled ones too."""
    query = select(User).where(User.tenant_id == tenant_id, User.kind == UserKind.SERVICE)
    return list(session.scalars(query.order_by(User.id.desc())))


def count(session: Session, tenant_id: str) -> int:
    query = select(func.count()).select_from(User)
    return session.scalar(query.where(User.tenant_id == tenant_id, User.kind == UserKind.SERVICE)) or 0


def one(session: Session, tenant_id: str, user_id: str, *, hold: bool) -> User | None:
    """Held until the transaction ends unless only seen."""
    query = select(User).where(User.id == user_id, User.tenant_id == tenant_id, User.kind == UserKind.SERVICE)
    return session.scalars(query.with_for_update() if hold else query).one_or_none()
