"""Sign up: a wish, a mail to the address, and a user once the link in it was followed."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.errors import BadRequestError, ConflictError, UnauthorisedError
from control_plane.identity import repository
from control_plane.identity.attempts import Attempts, mail_lanes, sign_up_lanes
from control_plane.identity.model import SignUp, User
from control_plane.identity.passwords import Passwords, refuse_guessable
from control_plane.identity.service import Identity
from control_plane.identity.sessions import Browser, Sessions, SignedIn
from control_plane.identity.state import MailKind, Role
from control_plane.ids import new_id
from control_plane.notifications import repository as mail_repository
from control_plane.notifications.model import Mail
from control_plane.notifications.service import Mails, link_hash

_LASTS = timedelta(days=1)


class Registration:
    def __init__(
        self,
        database: Database,
        identity: Identity,
        passwords: Passwords,
        sessions: Sessions,
        attempts: Attempts,
        mails: Mails,
        clock: Clock,
        plan: str | None = None,
    ) -> None:
        """`plan` is what new traders get."""
        self._database = database
        self._identity = identity
        self._passwords = passwords
        self._sessions = sessions
        self._attempts = attempts
        self._mails = mails
        self._clock = clock
        self._plan = plan

    def sign_up(self, email: str, password: str, display_name: str, browser: Browser) -> None:
        """Write the wish down and send a mail. Does and answers the same whether or not the address has a user.

        Raises InvalidInputError for a password that is easy to guess, TooManyRequestsError for too many mails.
        """
        address = email.lower()
        refuse_guessable(password, (address, display_name))
        with self._database.write_as_system() as session:
            self._attempts.begin(session, mail_lanes(address, browser.address))
        password_hash = self._passwords.hash(password)
        with self._database.write_as_system() as session:
            now = self._clock.now()
            wish = SignUp(
                id=new_id("sup"),
                tenant_id=self._identity.bootstrap(session).id,
                email=address,
                display_name=display_name,
                password_hash=password_hash,
                created_at=now,
                expires_at=now + _LASTS,
            )
            session.add(wish)
            session.flush()
            self._mails.put(session, wish.tenant_id, MailKind.VERIFY_EMAIL, address, wish.id, _LASTS)

    def verify_email(self, token: str, password: str, browser: Browser) -> SignedIn:
        """Make the user of a sign-up and sign them in.

        The link proves the address, the password that its owner is the one who signed up: without it, somebody could
        sign up with a foreign address and wait until its owner follows the link. Raises BadRequestError for a link that
        is of no use any more, UnauthorisedError for a wrong password, TooManyRequestsError.
        """
        lanes = sign_up_lanes(link_hash(token), browser.address)
        with self._database.write_as_system() as session:
            self._attempts.begin(session, lanes)
            _, wish = self._redeemable(session, token)
        right = self._passwords.verify(wish.password_hash if wish else None, password)
        if wish is not None and not right:
            raise UnauthorisedError("This is not the password of the sign-up.", code="bad_sign_in")
        with self._database.write_as_system() as session:
            mail, wish = self._redeemable(session, token)
            if mail is None or wish is None or repository.user_by_email(session, wish.email) is not None:
                raise link_is_spent()
            mail.used_at = self._clock.now()
            user = self.add(session, wish.tenant_id, wish.email, wish.display_name, wish.password_hash, Role.TRADER)
            repository.delete_sign_ups_of(session, wish.email)
            self._attempts.forgive(session, lanes)
            return self._sessions.open(session, user, browser, second_factor=False)

    def add_user(self, session: Session, email: str, password: str, display_name: str, role: Role) -> User:
        """A user for whose address an operator vouches. Raises ConflictError, or InvalidInputError for the password."""
        address = email.lower()
        refuse_guessable(password, (address, display_name))
        if repository.user_by_email(session, address) is not None:
            raise ConflictError("There is a user with this e-mail address already.", code="user_exists")
        tenant = self._identity.bootstrap(session)
        return self.add(session, tenant.id, address, display_name, self._passwords.hash(password), role)

    def _redeemable(self, session: Session, token: str) -> tuple[Mail | None, SignUp | None]:
        now = self._clock.now()
        mail = mail_repository.redeemable(session, MailKind.VERIFY_EMAIL, link_hash(token), now)
        return mail, None if mail is None else repository.sign_up(session, mail.subject_id, now)

    def add(
        self, session: Session, tenant_id: str, email: str, display_name: str, password_hash: str, role: Role
    ) -> User:
        """The row of a user whose address and password were checked."""
        user = User(
            id=new_id("usr"),
            tenant_id=tenant_id,
            email=email,
            display_name=display_name,
            role=role,
            plan=self._plan if role is Role.TRADER else None,
            password_hash=password_hash,
            created_at=self._clock.now(),
        )
        session.add(user)
        session.flush()
        return user


def link_is_spent() -> BadRequestError:
    return BadRequestError("This link is of no use any more. Please ask for a new one.", code="link_spent")
