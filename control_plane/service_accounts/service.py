"""Make service accounts, give them keys, and disable them. They have no password and never sign in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta

from sqlalchemy.orm import Session

from control_plane.accounts.service import Accounts
from control_plane.audit.service import Audit, Deed
from control_plane.clock import Clock
from control_plane.errors import ConflictError, ForbiddenError, NotFoundError, invalid_field
from control_plane.identity import key_rows
from control_plane.identity.api_keys import ApiKeys, NewKey
from control_plane.identity.model import User
from control_plane.identity.scopes import KeyScope
from control_plane.identity.service import owner_of
from control_plane.identity.state import Role, UserKind
from control_plane.ids import new_id
from control_plane.members.state import may_change_role
from control_plane.service_accounts import repository

SERVICE_ROLES = frozenset({Role.TRADER, Role.SUPPORT, Role.OPS})
MOST_SERVICE_ACCOUNTS = 100
_ADDRESS = "service.invalid"
"""No mail is ever sent there, and nobody can sign up with such an address (RFC 2606)."""


class ServiceAccounts:
    def __init__(self, api_keys: ApiKeys, accounts: Accounts, audit: Audit, clock: Clock) -> None:
        self._api_keys = api_keys
        self._accounts = accounts
        self._audit = audit
        self._clock = clock

    def make(self, session: Session, by: User, name: str, role: Role) -> User:
        """Raises InvalidInputError or ForbiddenError for a role that it cannot have or that is not theirs to give."""
        if role not in SERVICE_ROLES:
            raise invalid_field("role", "A service account is a trader, support or ops.")
        if not may_change_role(Role(by.role), Role.TRADER, role):
            raise ForbiddenError("You cannot give this role.", code="role_required")
        if repository.count(session, by.tenant_id) >= MOST_SERVICE_ACCOUNTS:
            raise ConflictError(
                f"There are {MOST_SERVICE_ACCOUNTS} service accounts already.", code="too_many_service_accounts"
            )
        user_id = new_id("svc")
        user = User(
            id=user_id,
            tenant_id=by.tenant_id,
            email=f"{user_id}@{_ADDRESS}",
            display_name=name,
            role=role,
            password_hash="",
            kind=UserKind.SERVICE,
            created_at=self._clock.now(),
        )
        session.add(user)
        session.flush()
        self._record(session, by, "make_service_account", user, "", {"name": name, "role": role})
        return user

    def make_key(
        self,
        session: Session,
        by: User,
        user_id: str,
        name: str,
        scopes: Collection[KeyScope],
        lasts: timedelta | None,
    ) -> NewKey:
        """Raises NotFoundError, ConflictError when it is disabled, and what `ApiKeys.make` raises."""
        user = self.require(session, by, user_id)
        if user.disabled_at is not None:
            raise ConflictError("This service account is disabled.", code="service_account_disabled")
        self._require_theirs(by, user)
        made = self._api_keys.make(session, user, name, scopes, lasts)
        facts = {"id": made.row.id, "name": name, "scopes": made.row.scopes}
        self._record(session, by, "make_service_key", user, "", facts)
        return made

    def revoke_key(self, session: Session, by: User, user_id: str, key_id: str) -> None:
        """Raises NotFoundError."""
        user = self.require(session, by, user_id)
        self._api_keys.revoke(session, user, key_id)
        self._record(session, by, "revoke_service_key", user, "", {"id": key_id})

    def disable(self, session: Session, by: User, user_id: str, reason: str) -> None:
        """All its keys and its sessions with terminals end, for good. What it runs goes on. Raises NotFoundError."""
        user = self.require(session, by, user_id)
        self._require_theirs(by, user)
        now = self._clock.now()
        user.disabled_at = user.disabled_at or now
        key_rows.revoke_all(session, user.id, now)
        self._accounts.end_access_of_user(session, owner_of(user))
        self._record(session, by, "disable_service_account", user, reason, {"name": user.display_name})

    def require(self, session: Session, by: User, user_id: str, *, hold: bool = True) -> User:
        """Raises NotFoundError for one of another tenant, and for a person, as for none."""
        user = repository.one(session, by.tenant_id, user_id, hold=hold)
        if user is None:
            raise NotFoundError("There is no such service account.", code="service_account_not_found")
        return user

    @staticmethod
    def _require_theirs(by: User, user: User) -> None:
        """A key can do what its role can, so that it is given only by who may give that role. Raises ForbiddenError."""
        if not may_change_role(Role(by.role), Role(user.role), Role(user.role)):
            raise ForbiddenError("You cannot give this role.", code="role_required")

    def _record(
        self, session: Session, by: User, action: str, user: User, reason: str, facts: Mapping[str, object]
    ) -> None:
        self._audit.record(session, user.tenant_id, Deed(by.email, action, user.id, reason, after=facts))
