"""All SQL of passkeys and of the challenges that they answer."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.identity.model import Passkey, PasskeyChallenge, User


def of_user(session: Session, user_id: str) -> list[Passkey]:
    """The oldest first."""
    return list(session.scalars(select(Passkey).where(Passkey.user_id == user_id).order_by(Passkey.id)))


def count(session: Session, user_id: str) -> int:
    """Suspended ones too: what was asked for at the sign-in goes on being asked for."""
    return session.scalar(select(func.count()).select_from(Passkey).where(Passkey.user_id == user_id)) or 0


def by_credential(session: Session, credential_id: str) -> tuple[Passkey, User] | None:
    query = select(Passkey, User).join(User, User.id == Passkey.user_id).where(Passkey.credential_id == credential_id)
    row = session.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def held(session: Session, passkey_id: str) -> Passkey | None:
    """Held until the transaction ends, so that two answers with the same counter are judged one by one."""
    query = select(Passkey).where(Passkey.id == passkey_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def rename(session: Session, user_id: str, passkey_id: str, name: str) -> Passkey | None:
    query = update(Passkey).where(Passkey.id == passkey_id, Passkey.user_id == user_id)
    return session.scalars(query.values(name=name).returning(Passkey)).one_or_none()


def remove(session: Session, user_id: str, passkey_id: str) -> str | None:
    """Its name; None when this user has no such passkey."""
    query = delete(Passkey).where(Passkey.id == passkey_id, Passkey.user_id == user_id)
    return session.scalars(query.returning(Passkey.name)).one_or_none()


def remove_all(session: Session, user_id: str) -> None:
    session.execute(delete(Passkey).where(Passkey.user_id == user_id))


def take_challenge(session: Session, challenge_hash: str, purpose: str, holder: str, now: datetime) -> bool:
    """Whether it was given to this holder for this and may still be answered; it never may again."""
    query = delete(PasskeyChallenge).where(PasskeyChallenge.challenge_hash == challenge_hash)
    row = session.execute(
        query.returning(PasskeyChallenge.purpose, PasskeyChallenge.holder, PasskeyChallenge.expires_at)
    ).one_or_none()
    return row is not None and (row.purpose, row.holder) == (purpose, holder) and row.expires_at > now


def forget_challenges(session: Session, purpose: str, holder: str) -> None:
    query = delete(PasskeyChallenge).where(PasskeyChallenge.purpose == purpose, PasskeyChallenge.holder == holder)
    session.execute(query)


def delete_expired_challenges(session: Session, now: datetime) -> None:
    session.execute(delete(PasskeyChallenge).where(PasskeyChallenge.expires_at <= now))


def insert(session: Session, passkey: Passkey) -> bool:
    """False when its credential is known already, even since a moment ago and to another tenant."""
    try:
        with session.begin_nested():
            session.add(passkey)
    except IntegrityError:
        return False
    return True
