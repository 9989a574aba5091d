"""All SQL of second factors."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from control_plane.identity.model import RecoveryCode, TotpDevice


def confirmed_totp(session: Session, user_id: str) -> TotpDevice | None:
    query = select(TotpDevice).where(TotpDevice.user_id == user_id, TotpDevice.confirmed_at.is_not(None))
    return session.scalars(query).one_or_none()


def held_totp(session: Session, user_id: str, *, confirmed: bool) -> TotpDevice | None:
    """Held until the transaction ends: a rotation may want to seal its secret anew and to delete the older key."""
    query = select(TotpDevice).where(TotpDevice.user_id == user_id, _is_confirmed(confirmed))
    return session.scalars(query.with_for_update().execution_options(populate_existing=True)).one_or_none()


def delete_totp(session: Session, user_id: str, *, confirmed: bool) -> None:
    session.execute(delete(TotpDevice).where(TotpDevice.user_id == user_id, _is_confirmed(confirmed)))


def use_step(session: Session, device_id: str, step: int) -> bool:
    """Mark a step as used; False when it or a later one was used already, even a moment ago by another request."""
    query = update(TotpDevice).where(TotpDevice.id == device_id, TotpDevice.last_step < step).values(last_step=step)
    return session.scalars(query.returning(TotpDevice.id)).one_or_none() is not None


def use_recovery_code(session: Session, user_id: str, code_hash: str, now: datetime) -> bool:
    """False when there is no such code, or it was used already."""
    query = (
        update(RecoveryCode)
        .where(RecoveryCode.user_id == user_id, RecoveryCode.code_hash == code_hash, RecoveryCode.used_at.is_(None))
        .values(used_at=now)
    )
    return session.scalars(query.returning(RecoveryCode.id)).one_or_none() is not None


def unused_recovery_codes(session: Session, user_id: str) -> int:
    query = select(func.count()).select_from(RecoveryCode)
    return session.scalar(query.where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))) or 0


def delete_recovery_codes(session: Session, user_id: str) -> None:
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))


def _is_confirmed(confirmed: bool) -> ColumnElement[bool]:
    return TotpDevice.confirmed_at.is_not(None) if confirmed else TotpDevice.confirmed_at.is_(None)
