"""A user as the API shows them to themselves."""

from __future__ import annotations

from control_plane.container import Farm
from control_plane.identity import factor_rows, passkey_rows
from control_plane.identity.model import User
from control_plane.identity.schemas import UserOut
from control_plane.identity.state import UserKind, needs_second_factor


def present_user(farm: Farm, user: User) -> UserOut:
    with farm.database.read(user.tenant_id) as session:
        app = factor_rows.confirmed_totp(session, user.id) is not None
        passkeys = passkey_rows.count(session, user.id) > 0
    missing = user.kind == UserKind.PERSON and needs_second_factor(user.role)
    return UserOut(
        id=user.id,
        email=user.email,
        display_name=user.display_name,
        role=user.role,
        tenant_id=user.tenant_id,
        created_at=user.created_at,
        second_factor=app or passkeys,
        second_factor_missing=missing and not (app or passkeys),
        passkeys=passkeys,
    )
