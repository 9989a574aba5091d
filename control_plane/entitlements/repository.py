"""All SQL of plans."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.identity.model import User


def plans_of(session: Session, user_ids: Iterable[str]) -> dict[str, str | None]:
    """By user id."""
    rows = session.execute(select(User.id, User.plan).where(User.id.in_(user_ids)))
    return {row.id: row.plan for row in rows}
