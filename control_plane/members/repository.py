"""All SQL of the people of a tenant."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.identity.model import User
from control_plane.identity.state import UserKind


def members(session: Session, tenant_id: str, after_id: str | None, limit: int) -> list[User]:
    """In the order they signed up."""
    query = select(User).where(User.tenant_id == tenant_id, User.kind == UserKind.PERSON).order_by(User.id).limit(limit)
    return list(session.scalars(query if after_id is None else query.where(User.id > after_id)))


def member(session: Session, tenant_id: str, user_id: str) -> User | None:
    query = select(User).where(User.tenant_id == tenant_id, User.id == user_id, User.kind == UserKind.PERSON)
    return session.scalars(query).one_or_none()
