"""All SQL of tenants, users, their sessions and known devices."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session

from control_plane.db.direct import execute_as_farm, table_of
from control_plane.db.tenancy import Statements
from control_plane.identity.model import KnownDevice, SignUp, Tenant, User, UserSession
from control_plane.identity.state import UserKind


def tenant_by_kind(session: Session, kind: str) -> Tenant | None:
    return session.scalars(select(Tenant).where(Tenant.kind == kind)).first()


def tenant_by_name(session: Session, name: str) -> Tenant | None:
    return session.scalars(select(Tenant).where(Tenant.name == name)).one_or_none()


def user_by_email(session: Session, email: str) -> User | None:
    """A person: a service account has no address."""
    return session.scalars(select(User).where(User.email == email, User.kind == UserKind.PERSON)).one_or_none()


def held_user(session: Session, user_id: str) -> User:
    """Held until the transaction ends, so that what is changed about a user is changed one by one."""
    query = select(User).where(User.id == user_id).with_for_update().execution_options(populate_existing=True)
    return session.scalars(query).one()


def sign_up(session: Session, sign_up_id: str, now: datetime) -> SignUp | None:
    return session.scalars(select(SignUp).where(SignUp.id == sign_up_id, SignUp.expires_at > now)).one_or_none()


def delete_sign_ups_of(session: Session, email: str) -> None:
    session.execute(delete(SignUp).where(SignUp.email == email))


_SESSIONS, _USERS = table_of(UserSession), table_of(User)
_SIGNED_IN = (
    select(*_SESSIONS.c, *_USERS.c)
    .join_from(_SESSIONS, _USERS, _USERS.c.id == _SESSIONS.c.user_id)
    .where(_SESSIONS.c.secret_hash == bindparam("secret_hash"), _SESSIONS.c.expires_at > bindparam("now"))
    .where(_SESSIONS.c.last_seen_at > bindparam("idle_since"))
)
_SESSION_NAMES, _USER_NAMES = ([each.name for each in table.c] for table in (_SESSIONS, _USERS))


def signed_in(
    session: Session | Statements, secret_hash: str, now: datetime, idle_since: datetime
) -> tuple[UserSession, User] | None:
    """Whose session it is, asked with each request: copies that no session holds; changes of them are not written."""
    asked = {"secret_hash": secret_hash, "now": now, "idle_since": idle_since}
    row = execute_as_farm(session, _SIGNED_IN, asked).first()
    if row is None:
        return None
    own, users = row[: len(_SESSION_NAMES)], row[len(_SESSION_NAMES) :]
    return (
        UserSession(**dict(zip(_SESSION_NAMES, own, strict=True))),
        User(**dict(zip(_USER_NAMES, users, strict=True))),
    )


def sessions_of(session: Session, user_id: str, now: datetime, idle_since: datetime) -> list[UserSession]:
    """The one used last first."""
    query = select(UserSession).where(
        UserSession.user_id == user_id, UserSession.expires_at > now, UserSession.last_seen_at > idle_since
    )
    return list(session.scalars(query.order_by(UserSession.last_seen_at.desc(), UserSession.id.desc())))


def touch_session(session: Session, session_id: str, now: datetime) -> None:
    session.execute(update(UserSession).where(UserSession.id == session_id).values(last_seen_at=now))


def prove_session(session: Session, session_id: str, now: datetime, *, second_factor: bool) -> None:
    """The user of the session has proved anew who they are."""
    proof = {"proved_at": now, "second_factor_at": now} if second_factor else {"proved_at": now}
    session.execute(update(UserSession).where(UserSession.id == session_id).values(**proof))


def delete_session_of(session: Session, user_id: str, session_id: str) -> bool:
    """Whether there was one."""
    query = delete(UserSession).where(UserSession.id == session_id, UserSession.user_id == user_id)
    return session.scalars(query.returning(UserSession.id)).one_or_none() is not None


def delete_sessions_of(session: Session, user_id: str, keep: str | None = None) -> None:
    """All sessions of a user but the one to keep."""
    query = delete(UserSession).where(UserSession.user_id == user_id)
    session.execute(query if keep is None else query.where(UserSession.id != keep))


def known_device(session: Session, user_id: str, secret_hash: str) -> KnownDevice | None:
    query = select(KnownDevice).where(KnownDevice.user_id == user_id, KnownDevice.secret_hash == secret_hash)
    return session.scalars(query).one_or_none()


def has_devices(session: Session, user_id: str) -> bool:
    """Whether the user has ever signed in with a browser that was remembered."""
    return session.scalar(select(KnownDevice.id).where(KnownDevice.user_id == user_id).limit(1)) is not None


def keep_newest_devices(session: Session, user_id: str, most: int) -> None:
    query = select(KnownDevice.id).where(KnownDevice.user_id == user_id)
    old = session.scalars(query.order_by(KnownDevice.last_used_at.desc(), KnownDevice.id.desc()).offset(most)).all()
    if old:
        session.execute(delete(KnownDevice).where(KnownDevice.id.in_(old)))


def delete_devices_of(session: Session, user_id: str) -> None:
    session.execute(delete(KnownDevice).where(KnownDevice.user_id == user_id))


def delete_stale(session: Session, now: datetime) -> None:
    session.execute(delete(UserSession).where(UserSession.expires_at <= now))
    session.execute(delete(SignUp).where(SignUp.expires_at <= now))
