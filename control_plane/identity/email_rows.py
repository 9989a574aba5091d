"""All SQL of changes of e-mail addresses."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from control_plane.identity.model import EmailChange


def one(session: Session, change_id: str) -> EmailChange | None:
    """Held until the transaction ends."""
    return session.scalars(select(EmailChange).where(EmailChange.id == change_id).with_for_update()).one_or_none()


def forget_wishes(session: Session, user_id: str) -> None:
    """Those that were not confirmed."""
    query = delete(EmailChange).where(EmailChange.user_id == user_id, EmailChange.confirmed_at.is_(None))
    session.execute(query)
