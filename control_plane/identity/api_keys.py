"""Keys for programs: made by a user who has just proved who they are, shown once, limited to scopes."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.entitlements.decision import require_programs
from control_plane.entitlements.plans import allowed_by
from control_plane.errors import ConflictError, ForbiddenError, NotFoundError, UnauthorisedError, invalid_field
from control_plane.identity import key_rows
from control_plane.identity.model import ApiKey, User
from control_plane.identity.schemas import ApiKeyOut
from control_plane.identity.scopes import KeyScope, allowed_scopes
from control_plane.identity.sessions import SEEN_EVERY, Caller, secret_hash
from control_plane.ids import new_id

MOST_KEYS = 50
_MARK = "mt5f"
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
_PREFIX_LENGTH = 10
_BEARER = re.compile(rf"Bearer {_MARK}_([{_ALPHABET}]{{{_PREFIX_LENGTH}}})_([A-Za-z0-9_-]{{43}})")


@dataclass(frozen=True)
class NewKey:
    """A key and its whole text, of which only the prefix can be shown again."""

    row: ApiKey
    text: str = field(repr=False)


class ApiKeys:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def make(
        self, session: Session, user: User, name: str, scopes: Collection[KeyScope], lasts: timedelta | None
    ) -> NewKey:
        """Raises InvalidInputError for scopes that the user's role cannot give, ConflictError for too many keys,
        ForbiddenError where the user's plan has none.
        """
        require_programs(allowed_by(user.plan))
        refused = sorted(set(scopes) - allowed_scopes(user.role))
        if refused:
            raise invalid_field("scopes", f"The role {user.role} cannot have the scope '{refused[0]}'.")
        if key_rows.count(session, user.id) >= MOST_KEYS:
            raise ConflictError(f"You have {MOST_KEYS} keys; revoke one first.", code="too_many_keys")
        now = self._clock.now()
        prefix = "".join(secrets.choice(_ALPHABET) for _ in range(_PREFIX_LENGTH))
        secret = secrets.token_urlsafe(32)
        row = ApiKey(
            id=new_id("key"),
            tenant_id=user.tenant_id,
            user_id=user.id,
            name=name,
            prefix=prefix,
            secret_hash=secret_hash(secret),
            scopes=sorted(scopes),
            created_at=now,
            expires_at=None if lasts is None else now + lasts,
        )
        session.add(row)
        session.flush()
        return NewKey(row, f"{_MARK}_{prefix}_{secret}")

    def revoke(self, session: Session, user: User, key_id: str) -> None:
        """Raises NotFoundError for a key that is not this user's."""
        if not key_rows.revoke(session, user.id, key_id, self._clock.now()):
            raise NotFoundError("There is no such key.", code="api_key_not_found")

    def authenticate(self, header: str, needed: KeyScope | None) -> Caller:
        """The user of an `Authorization` header. Raises UnauthorisedError, ForbiddenError without the needed scope."""
        now = self._clock.now()
        parts = _BEARER.fullmatch(header)
        if parts is None:
            raise _bad_key()
        with self._database.read_as_system() as session:
            found = key_rows.valid(session, parts[1], now)
        if found is None or not secrets.compare_digest(found[0].secret_hash, secret_hash(parts[2])):
            raise _bad_key()
        row, user = found
        if needed is None:
            raise ForbiddenError("No key for programs may do this; sign in to the portal.", code="session_required")
        if needed not in row.scopes or needed not in allowed_scopes(user.role):
            raise ForbiddenError(f"The key lacks the scope '{needed}'.", code="scope_required")
        require_programs(allowed_by(user.plan))
        if row.last_used_at is None or now - row.last_used_at >= SEEN_EVERY:
            with self._database.write(user.tenant_id) as session:
                key_rows.touch(session, row.id, now)
        return Caller(user, None, row)


def present_key(row: ApiKey) -> ApiKeyOut:
    return ApiKeyOut(
        id=row.id,
        name=row.name,
        prefix=f"{_MARK}_{row.prefix}",
        scopes=[KeyScope(each) for each in row.scopes],
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )


def _bad_key() -> UnauthorisedError:
    return UnauthorisedError("The key is wrong, revoked or expired.", code="bad_api_key")
