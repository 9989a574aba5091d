"""All SQL of the people of a tenant."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.identity.model import User
from control_plane.identity.state import Role, UserKind


def members(session: Session, tenant_id: str, role: Role | None, after_id: str | None, limit: int) -> list[User]:
    """In the order they signed up; those of one role, or all."""
    query = select(User).where(User.tenant_id == tenant_id, User.kind == UserKind.PERSON).order_by(User.id).limit(limit)
    if role is not None:
        query = query.where(User.role == role)
    return list(session.scalars(query if after_id is None else query.where(User.id > after_id)))


def member(session: Session, tenant_id: str, user_id: str) -> User | None:
    query = select(User).where(User.tenant_id == tenant_id, User.id == user_id, User.kind == UserKind.PERSON)
    return session.scalars(query).one_or_none()


def held_member(session: Session, tenant_id: str, user_id: str) -> User:
    """As they are now, held until the transaction ends where the database can (SQLite holds everything)."""
    query = select(User).where(User.tenant_id == tenant_id, User.id == user_id)
    return session.scalars(query.with_for_update(), execution_options={"populate_existing": True}).one()
