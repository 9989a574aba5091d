"""All SQL of the people of a tenant."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.identity.model import User


def members(session: Session, tenant_id: str, after_id: str | None, limit: int) -> list[User]:
    """In the order they signed up."""
    query = select(User).where(User.tenant_id == tenant_id).order_by(User.id).limit(limit)
    return list(session.scalars(query if after_id is None else query.where(User.id > after_id)))


def member(session: Session, tenant_id: str, user_id: str) -> User | None:
    return session.scalars(select(User).where(User.tenant_id == tenant_id, User.id == user_id)).one_or_none()
