"""All SQL of keys for programs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from control_plane.identity.model import ApiKey, User


def of_user(session: Session, user_id: str) -> list[ApiKey]:
    """Those that are not revoked, the newest first."""
    query = select(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    return list(session.scalars(query.order_by(ApiKey.id.desc())))


def count(session: Session, user_id: str) -> int:
    query = select(func.count()).select_from(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    return session.scalar(query) or 0


def valid(session: Session, prefix: str, now: datetime) -> tuple[ApiKey, User] | None:
    query = (
        select(ApiKey, User)
        .join(User, User.id == ApiKey.user_id)
        .where(
            ApiKey.prefix == prefix,
            ApiKey.revoked_at.is_(None),
            User.disabled_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now),
        )
    )
    row = session.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def revoke(session: Session, user_id: str, key_id: str, now: datetime) -> bool:
    """Whether there was one to revoke."""
    query = update(ApiKey).where(ApiKey.id == key_id, ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    return session.scalars(query.values(revoked_at=now).returning(ApiKey.id)).one_or_none() is not None


def revoke_all(session: Session, user_id: str, now: datetime) -> None:
    session.execute(update(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None)).values(revoked_at=now))


def touch(session: Session, key_id: str, now: datetime) -> None:
    session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now))
