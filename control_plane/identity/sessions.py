"""Sessions of browsers: open, recognise, list, end; and the browsers that a user is known to own."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.db.tenancy import Statements
from control_plane.errors import NotFoundError, UnauthorisedError
from control_plane.identity import repository
from control_plane.identity.model import ApiKey, KnownDevice, User, UserSession
from control_plane.ids import new_id

SESSION_LIFETIME = timedelta(days=14)
DEVICE_LIFETIME = timedelta(days=365)
SEEN_EVERY = timedelta(minutes=5)
_MOST_DEVICES = 10
_USER_AGENT_LENGTH = 200


@dataclass(frozen=True)
class Browser:
    """From where somebody asks."""

    address: str = ""
    """IP address; empty when it is not known."""
    user_agent: str = ""
    device_secret: str | None = field(default=None, repr=False)
    """Of the cookie that makes it a known device."""


@dataclass(frozen=True)
class Caller:
    """Who asks, and how they proved it: by a session or by a key."""

    user: User
    session: UserSession | None
    api_key: ApiKey | None = None


@dataclass(frozen=True)
class SignedIn:
    """A user and the secrets of what was just opened for them; the farm keeps only their hashes."""

    user: User
    secret: str = field(repr=False)
    device_secret: str = field(repr=False)


NewSignIn = Callable[[Session, User, Browser, str], None]
"""Told of a session, by its id, that was opened with a browser that the user has not used before."""


def _nobody(_session: Session, _user: User, _browser: Browser, _session_id: str) -> None:
    """Nobody wants to know."""


class Sessions:
    def __init__(self, database: Database, idle: timedelta, clock: Clock, on_new_sign_in: NewSignIn = _nobody) -> None:
        """`on_new_sign_in` is called in the transaction of the sign-in; not for the first browser of a user."""
        self._on_new_sign_in = on_new_sign_in
        self._database = database
        self._idle = idle
        self._clock = clock

    def open(self, session: Session, user: User, browser: Browser, *, second_factor: bool) -> SignedIn:
        """`second_factor` is whether one was part of the proof."""
        secret = secrets.token_urlsafe(32)
        now, session_id = self._clock.now(), new_id("ses")
        if self.known_device(session, user, browser) is None and repository.has_devices(session, user.id):
            self._on_new_sign_in(session, user, browser, session_id)
        session.add(
            UserSession(
                id=session_id,
                tenant_id=user.tenant_id,
                user_id=user.id,
                secret_hash=secret_hash(secret),
                created_at=now,
                expires_at=now + SESSION_LIFETIME,
                last_seen_at=now,
                address=browser.address[:45],
                user_agent=browser.user_agent[:_USER_AGENT_LENGTH],
                proved_at=now,
                second_factor_at=now if second_factor else None,
            )
        )
        return SignedIn(user, secret, self.remember(session, user, browser))

    def by_secret(self, session: Session | Statements, secret: str) -> tuple[UserSession, User] | None:
        """The session of a cookie, unless it has ended: by its age, or because it was idle."""
        now = self._clock.now()
        return repository.signed_in(session, secret_hash(secret), now, now - self._idle)

    def of_user(self, session: Session, user_id: str) -> list[UserSession]:
        """Those that have not ended, the one used last first."""
        now = self._clock.now()
        return repository.sessions_of(session, user_id, now, now - self._idle)

    def ends_at(self, row: UserSession) -> datetime:
        """If it is not used before."""
        return min(row.expires_at, row.last_seen_at + self._idle)

    def authenticate(self, secret: str | None) -> Caller:
        """Raises UnauthorisedError."""
        if secret is not None:
            now = self._clock.now()
            with self._database.look_as_system() as session:
                found = self.by_secret(session, secret)
            if found is not None:
                row, user = found
                if now - row.last_seen_at >= SEEN_EVERY:
                    self._seen(row.id, now)
                return Caller(user, row)
        raise UnauthorisedError("Please sign in first.")

    def end(self, session: Session, user_id: str, session_id: str) -> None:
        """Raises NotFoundError for a session that is not this user's."""
        if not repository.delete_session_of(session, user_id, session_id):
            raise NotFoundError("There is no such session.", code="session_not_found")

    def known_device(self, session: Session, user: User | None, browser: Browser) -> str | None:
        """Id of the device, if this user has signed in with it before. Looks as hard when there is no such user."""
        if browser.device_secret is None:
            return None
        row = repository.known_device(session, user.id if user else "", secret_hash(browser.device_secret))
        return None if row is None or self._clock.now() - row.last_used_at > DEVICE_LIFETIME else row.id

    def remember(self, session: Session, user: User, browser: Browser) -> str:
        """The secret that makes the browser a known device of this user; never one that others may have put there."""
        now = self._clock.now()
        if browser.device_secret is not None:
            row = repository.known_device(session, user.id, secret_hash(browser.device_secret))
            if row is not None:
                row.last_used_at = now
                return browser.device_secret
        secret = secrets.token_urlsafe(32)
        session.add(
            KnownDevice(
                id=new_id("dev"),
                tenant_id=user.tenant_id,
                user_id=user.id,
                secret_hash=secret_hash(secret),
                last_used_at=now,
            )
        )
        session.flush()
        repository.keep_newest_devices(session, user.id, _MOST_DEVICES)
        return secret

    def _seen(self, session_id: str, now: datetime) -> None:
        with self._database.write_as_system() as session:
            repository.touch_session(session, session_id, now)


def secret_hash(text: str) -> str:
    """For secrets with so much chance in them that nobody guesses them from their hash."""
    return hashlib.sha256(text.encode()).hexdigest()
