"""What has to be left when somebody takes a second factor away."""

from __future__ import annotations

from sqlalchemy.orm import Session

from control_plane.accounts import repository as accounts_repository
from control_plane.brokers.service import is_live
from control_plane.container import Farm
from control_plane.errors import ConflictError
from control_plane.identity.model import User
from control_plane.identity.service import owner_of
from control_plane.identity.state import needs_second_factor


def require_enough_left(farm: Farm, session: Session, user: User) -> None:
    """After it was taken away, in the same transaction. Raises ConflictError where the last one is needed."""
    if farm.second_factors.is_enrolled(session, user.id):
        return
    accounts = accounts_repository.all_owned(session, owner_of(user))
    if needs_second_factor(user.role) or any(is_live(session, each.server) for each in accounts):
        raise ConflictError(
            "Your role, or a live account that you have connected, needs a second factor. Add another one first.",
            code="second_factor_needed",
        )
