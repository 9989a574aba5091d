"""All SQL of tenants, users and sessions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from control_plane.identity.model import SignInFailure, Tenant, User, UserSession


def tenant_by_kind(session: Session, kind: str) -> Tenant | None:
    return session.scalars(select(Tenant).where(Tenant.kind == kind)).first()


def user_by_email(session: Session, email: str) -> User | None:
    return session.scalars(select(User).where(User.email == email)).one_or_none()


def session_user(session: Session, secret_hash: str, now: datetime) -> tuple[UserSession, User] | None:
    query = (
        select(UserSession, User)
        .join(User, User.id == UserSession.user_id)
        .where(UserSession.secret_hash == secret_hash, UserSession.expires_at > now)
    )
    row = session.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def delete_session(session: Session, secret_hash: str) -> None:
    session.execute(delete(UserSession).where(UserSession.secret_hash == secret_hash))


def delete_sessions_of(session: Session, user_id: str) -> None:
    session.execute(delete(UserSession).where(UserSession.user_id == user_id))


def failures_since(session: Session, email_hash: str, since: datetime) -> tuple[int, datetime | None]:
    """How many sign-ins failed for an address, and when the last one did."""
    query = select(func.count(), func.max(SignInFailure.at)).where(
        SignInFailure.email_hash == email_hash, SignInFailure.at > since
    )
    count, last = session.execute(query).one()
    return count, last


def delete_failures(session: Session, email_hash: str) -> None:
    session.execute(delete(SignInFailure).where(SignInFailure.email_hash == email_hash))


def delete_stale(session: Session, now: datetime, failures_before: datetime) -> None:
    session.execute(delete(UserSession).where(UserSession.expires_at <= now))
    session.execute(delete(SignInFailure).where(SignInFailure.at <= failures_before))
