"""Sign up, sign in, sign out, and tell who a session secret belongs to."""

from __future__ import annotations

import hashlib
import math
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.errors import ConflictError, NotFoundError, TooManyRequestsError, UnauthorisedError, invalid_field
from control_plane.identity import repository
from control_plane.identity.model import SignInFailure, Tenant, User, UserSession
from control_plane.identity.owner import Owner
from control_plane.identity.state import FAILURE_WINDOW, OPERATOR, OPS_ROLES, Role, sign_in_wait
from control_plane.ids import new_id

SESSION_LIFETIME = timedelta(days=14)
_PARALLEL_HASHES = 4


@dataclass(frozen=True)
class SignedIn:
    """A user and the secret of the session that was just opened for them; the farm keeps only its hash."""

    user: User
    secret: str = field(repr=False)


class Identity:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        # Each hash takes 19 MiB and a core for a while; a flood of sign-ins must not take the machine.
        self._hashing = BoundedSemaphore(_PARALLEL_HASHES)
        # Verified against when there is no such user, so that both cases take the same time.
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    def bootstrap(self, session: Session) -> Tenant:
        """The operator's own tenant, made at the first start."""
        tenant = repository.tenant_by_kind(session, OPERATOR)
        if tenant is None:
            tenant = Tenant(id=new_id("ten"), kind=OPERATOR, name=OPERATOR, created_at=self._clock.now())
            session.add(tenant)
            session.flush()
        return tenant

    def sign_up(self, email: str, password: str, display_name: str) -> SignedIn:
        """Raises ConflictError when the address cannot be used; the text does not say why."""
        address = email.lower()
        if password.lower() in {address, address.partition("@")[0]}:
            raise invalid_field("password", "The password must differ from the e-mail address.")
        with self._hashing:
            password_hash = self._hasher.hash(password)
        with self._database.write_as_system() as session:
            if repository.user_by_email(session, address) is not None:
                raise ConflictError(
                    "An account cannot be made with this e-mail address. If you already have one, sign in.",
                    code="sign_up_refused",
                )
            user = User(
                id=new_id("usr"),
                tenant_id=self.bootstrap(session).id,
                email=address,
                display_name=display_name,
                role=Role.TRADER,
                password_hash=password_hash,
                created_at=self._clock.now(),
            )
            session.add(user)
            session.flush()
            return self._open_session(session, user)

    def sign_in(self, email: str, password: str) -> SignedIn:
        """Raises UnauthorisedError, the same for a wrong address and a wrong password, or TooManyRequestsError."""
        address = email.lower()
        with self._database.read_as_system() as session:
            self._check_wait(session, address)
            user = repository.user_by_email(session, address)
        correct = self._verify(self._nobody if user is None else user.password_hash, password)
        with self._database.write_as_system() as session:
            if user is None or not correct:
                session.add(SignInFailure(id=new_id("sif"), email_hash=_hash(address), at=self._clock.now()))
            else:
                repository.delete_failures(session, _hash(address))
                return self._open_session(session, user)
        raise UnauthorisedError("The e-mail address or the password is wrong.", code="bad_sign_in")

    def sign_out(self, secret: str | None) -> None:
        if secret is not None:
            with self._database.write_as_system() as session:
                repository.delete_session(session, _hash(secret))

    def runs_the_fleet(self, user: User) -> bool:
        """Whether this is one of the operator's own people, in a role that may touch nodes."""
        with self._database.read_as_system() as session:
            operator = repository.tenant_by_kind(session, OPERATOR)
        return operator is not None and user.tenant_id == operator.id and user.role in OPS_ROLES

    def set_role(self, session: Session, email: str, role: Role) -> User:
        """Raises NotFoundError."""
        user = repository.user_by_email(session, email.lower())
        if user is None:
            raise NotFoundError("There is no user with this e-mail address.", code="user_not_found")
        user.role = role
        return user

    def sign_out_everywhere(self, session: Session, user_id: str) -> None:
        """End every session of a user, the present one included."""
        repository.delete_sessions_of(session, user_id)

    def authenticate(self, secret: str | None) -> User:
        """The user of a session secret. Raises UnauthorisedError."""
        if secret is not None:
            with self._database.read_as_system() as session:
                found = repository.session_user(session, _hash(secret), self._clock.now())
            if found is not None:
                return found[1]
        raise UnauthorisedError("Please sign in first.")

    def _check_wait(self, session: Session, address: str) -> None:
        now = self._clock.now()
        count, last = repository.failures_since(session, _hash(address), now - FAILURE_WINDOW)
        wait = math.ceil(sign_in_wait(count, last, now).total_seconds())
        if wait > 0:
            raise TooManyRequestsError(
                f"Too many failed attempts. Please wait {wait} s.", retryable=True, retry_after=wait
            )

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            with self._hashing:
                return self._hasher.verify(password_hash, password)
        except (Argon2Error, InvalidHashError):
            return False

    def _open_session(self, session: Session, user: User) -> SignedIn:
        secret = secrets.token_urlsafe(32)
        now = self._clock.now()
        session.add(
            UserSession(
                id=new_id("ses"),
                tenant_id=user.tenant_id,
                user_id=user.id,
                secret_hash=_hash(secret),
                created_at=now,
                expires_at=now + SESSION_LIFETIME,
            )
        )
        return SignedIn(user, secret)


def owner_of(user: User) -> Owner:
    return Owner(tenant_id=user.tenant_id, user_id=user.id)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
