"""All SQL of requests that may be sent again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from control_plane.idempotency.model import RepeatableRequest


def held(session: Session, tenant_id: str, user_id: str, key: str) -> RepeatableRequest | None:
    """Held until the transaction ends."""
    query = select(RepeatableRequest).where(
        RepeatableRequest.tenant_id == tenant_id, RepeatableRequest.user_id == user_id, RepeatableRequest.key == key
    )
    return session.scalars(query.with_for_update()).one_or_none()


def delete_older(session: Session, before: datetime) -> None:
    session.execute(delete(RepeatableRequest).where(RepeatableRequest.started_at < before))
