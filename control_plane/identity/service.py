"""Sign in, sign out, prove once more, and change what one signs in with."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy.orm import Session

from control_plane.audit.service import Audit, Deed
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.errors import BadRequestError, NotFoundError, UnauthorisedError
from control_plane.identity import passkey_rows, repository
from control_plane.identity.attempts import Attempts, Lane, code_lanes, password_lanes
from control_plane.identity.authenticators import Answer, bad_passkey
from control_plane.identity.model import Tenant, User
from control_plane.identity.notices import Notices
from control_plane.identity.owner import Owner
from control_plane.identity.passkeys import Passkeys, holder_of
from control_plane.identity.passwords import Passwords, refuse_guessable
from control_plane.identity.second_factor import NOTHING, SecondFactors, Shown, wrong_code
from control_plane.identity.sessions import Browser, Caller, Sessions, SignedIn
from control_plane.identity.state import OPERATOR, OPS_ROLES, PasskeyPurpose, Role, SecurityChange
from control_plane.ids import new_id


class Identity:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        sessions: Sessions,
        second_factors: SecondFactors,
        passkeys: Passkeys,
        attempts: Attempts,
        notices: Notices,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._sessions = sessions
        self._second_factors = second_factors
        self._passkeys = passkeys
        self._attempts = attempts
        self._notices = notices
        self._audit = audit
        self._clock = clock

    def bootstrap(self, session: Session) -> Tenant:
        """The operator's own tenant, made at the first start."""
        tenant = repository.tenant_by_kind(session, OPERATOR)
        if tenant is None:
            tenant = Tenant(id=new_id("ten"), kind=OPERATOR, name=OPERATOR, created_at=self._clock.now())
            session.add(tenant)
            session.flush()
        return tenant

    def sign_in(self, email: str, password: str, browser: Browser, shown: Shown = NOTHING) -> SignedIn:
        """Raises UnauthorisedError: `bad_sign_in`, the same for a wrong address and a wrong password,
        `second_factor_required` when the password is right and a second factor has to come with it, `bad_code` or
        `bad_passkey`; and TooManyRequestsError.
        """
        address = email.lower()
        with self._database.write_as_system() as session:
            user = repository.user_by_email(session, address)
            device_id = self._sessions.known_device(session, user, browser)
            lanes = password_lanes(address, device_id, browser.address)
            self._attempts.begin(session, lanes)
        right = self._passwords.verify(user.password_hash if user else None, password)
        if user is None or not right:
            raise UnauthorisedError("The e-mail address or the password is wrong.", code="bad_sign_in")
        with self._database.write_as_system() as session:
            self._attempts.forgive(session, lanes)
            enrolled = self._second_factors.is_enrolled(session, user.id)
        if enrolled:
            self.check_second_factor(user, shown, code_lanes(user.id, device_id))
        with self._database.write_as_system() as session:
            # The password may have been changed while it was being verified.
            if repository.held_user(session, user.id).password_hash != user.password_hash:
                raise UnauthorisedError("The e-mail address or the password is wrong.", code="bad_sign_in")
            return self._sessions.open(session, user, browser, second_factor=enrolled)

    def sign_in_with_passkey(self, answer: Answer, holder: str, browser: Browser) -> SignedIn:
        """A passkey alone: its authenticator is one factor, and the user that it has verified the other.

        Raises UnauthorisedError `bad_passkey`.
        """
        proved = self._passkeys.prove(PasskeyPurpose.SIGN_IN, holder, answer)
        with self._database.write_as_system() as session:
            # The passkey may have been removed while its answer was being verified.
            user = repository.held_user(session, proved.user.id)
            if passkey_rows.held(session, proved.passkey_id) is None:
                raise bad_passkey()
            self._passkeys.forgive(session, browser.address)
            return self._sessions.open(session, user, browser, second_factor=True)

    def step_up(
        self, caller: Caller, password: str | None, code: str | None, passkey: Answer | None, browser: Browser
    ) -> None:
        """Prove once more who one is: with a passkey or a code if a second factor is enrolled, else with the password.

        Raises UnauthorisedError, TooManyRequestsError, or BadRequestError when asked with a key instead of a session.
        """
        if caller.session is None:
            raise BadRequestError("Keys for programs prove nothing more.", code="no_session")
        user = caller.user
        with self._database.read(user.tenant_id) as session:
            enrolled = self._second_factors.is_enrolled(session, user.id)
        if passkey is not None:
            self._passkeys.prove(PasskeyPurpose.STEP_UP, holder_of(caller.session), passkey, user)
        elif enrolled:
            self._check_code(user, code, self._code_lanes_of(user, browser))
        else:
            self.check_password(user, password or "", browser)
        with self._database.write(user.tenant_id) as session:
            repository.prove_session(session, caller.session.id, self._clock.now(), second_factor=enrolled)

    def check_password(self, user: User, password: str, browser: Browser) -> None:
        """Of somebody who is signed in. Raises UnauthorisedError `bad_password`, TooManyRequestsError."""
        with self._database.write_as_system() as session:
            device_id = self._sessions.known_device(session, user, browser)
            lanes = password_lanes(user.email, device_id, browser.address)
            self._attempts.begin(session, lanes)
        if not self._passwords.verify(user.password_hash, password):
            raise UnauthorisedError("The password is wrong.", code="bad_password")
        with self._database.write_as_system() as session:
            self._attempts.forgive(session, lanes)

    def change_password(self, caller: Caller, present: str, new: str, browser: Browser) -> None:
        """Ends all other sessions. Raises what `check_password` raises, ForbiddenError, InvalidInputError."""
        user = caller.user
        refuse_guessable(new, (user.email, user.display_name), "new_password")
        with self._database.read(user.tenant_id) as session:
            if self._second_factors.is_enrolled(session, user.id):
                self._second_factors.require_fresh_proof(session, caller)
        self.check_password(user, present, browser)
        password_hash = self._passwords.hash(new)
        with self._database.write(user.tenant_id) as session:
            repository.held_user(session, user.id).password_hash = password_hash
            repository.delete_sessions_of(session, user.id, keep=caller.session.id if caller.session else None)
            self._notices.changed(session, user, SecurityChange.CHANGE_PASSWORD)

    def sign_out(self, secret: str | None) -> None:
        if secret is not None:
            with self._database.write_as_system() as session:
                found = self._sessions.by_secret(session, secret)
                if found is not None:
                    with suppress(NotFoundError):  # ended at the same moment
                        self.end_session(session, found[1], found[0].id)

    def end_session(self, session: Session, user: User, session_id: str) -> None:
        """Raises NotFoundError for a session that is not this user's."""
        self._sessions.end(session, user.id, session_id)
        self._audit.record(session, user.tenant_id, Deed(user.email, "end_session", session_id, ""))

    def end_other_sessions(self, session: Session, caller: Caller) -> None:
        """All but the one that asks."""
        user, kept = caller.user, caller.session.id if caller.session else None
        repository.delete_sessions_of(session, user.id, keep=kept)
        self._audit.record(session, user.tenant_id, Deed(user.email, "end_other_sessions", user.id, ""))

    def sign_out_everywhere(self, session: Session, user: User) -> None:
        """End every session of a user, the present one included."""
        repository.delete_sessions_of(session, user.id)
        self._audit.record(session, user.tenant_id, Deed(user.email, "end_all_sessions", user.id, ""))

    def runs_the_fleet(self, user: User) -> bool:
        """Whether this is one of the operator's own people, in a role that may touch nodes."""
        with self._database.read_as_system() as session:
            operator = repository.tenant_by_kind(session, OPERATOR)
        return operator is not None and user.tenant_id == operator.id and user.role in OPS_ROLES

    def set_role(self, session: Session, email: str, role: Role) -> User:
        """Raises NotFoundError."""
        user = self.require_user(session, email)
        user.role = role
        return user

    def require_user(self, session: Session, email: str) -> User:
        """Raises NotFoundError."""
        user = repository.user_by_email(session, email.lower())
        if user is None:
            raise NotFoundError("There is no user with this e-mail address.", code="user_not_found")
        return user

    def check_second_factor(self, user: User, shown: Shown, lanes: tuple[Lane, ...]) -> None:
        """A passkey of this user, or a code. Raises UnauthorisedError without one or for a wrong one,
        TooManyRequestsError.
        """
        if shown.passkey is not None:
            self._passkeys.prove(PasskeyPurpose.SIGN_IN, shown.holder, shown.passkey, user)
        else:
            self._check_code(user, shown.code, lanes)

    def _check_code(self, user: User, code: str | None, lanes: tuple[Lane, ...]) -> None:
        if not code:
            raise second_factor_asked()
        with self._database.write_as_system() as session:
            self._attempts.begin(session, lanes)
        with self._database.write_as_system() as session:
            right = self._second_factors.check(session, user.id, code)
            if right:
                self._attempts.forgive(session, lanes)
        if not right:
            raise wrong_code()

    def _code_lanes_of(self, user: User, browser: Browser) -> tuple[Lane, ...]:
        with self._database.read(user.tenant_id) as session:
            return code_lanes(user.id, self._sessions.known_device(session, user, browser))


def second_factor_asked() -> UnauthorisedError:
    return UnauthorisedError(
        "Please show your second factor: a passkey, or a code of your authenticator app.", code="second_factor_required"
    )


def owner_of(user: User) -> Owner:
    return Owner(tenant_id=user.tenant_id, user_id=user.id)
