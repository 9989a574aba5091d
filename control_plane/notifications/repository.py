"""All SQL of mails."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from control_plane.notifications.model import Mail


def held(session: Session, mail_id: str) -> Mail | None:
    """Held until the transaction ends."""
    return session.scalars(select(Mail).where(Mail.id == mail_id).with_for_update()).one_or_none()


def redeemable(session: Session, kind: str, secret_hash: str, now: datetime, *, hold: bool = True) -> Mail | None:
    """The mail whose link holds a secret, if it may still be used; held until the transaction ends unless only seen."""
    query = select(Mail).where(
        Mail.secret_hash == secret_hash, Mail.kind == kind, Mail.expires_at > now, Mail.used_at.is_(None)
    )
    return session.scalars(query.with_for_update() if hold else query).one_or_none()


def spend_all(session: Session, kind: str, recipient: str, now: datetime) -> None:
    """Make all links of a kind that went to an address useless."""
    query = update(Mail).where(Mail.kind == kind, Mail.recipient == recipient, Mail.used_at.is_(None))
    session.execute(query.values(used_at=now))


def delete_expired(session: Session, before: datetime) -> None:
    session.execute(delete(Mail).where(Mail.expires_at <= before))
