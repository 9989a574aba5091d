"""What the plans of users allow, as the database has it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from control_plane.entitlements import repository
from control_plane.entitlements.decision import Entitlements
from control_plane.entitlements.plans import allowed_by


def held_by(session: Session, user_ids: Iterable[str]) -> dict[str, Entitlements]:
    """By user id."""
    return {user_id: allowed_by(plan) for user_id, plan in repository.plans_of(session, set(user_ids)).items()}


def held_by_one(session: Session, user_id: str) -> Entitlements:
    return held_by(session, [user_id])[user_id]
