"""Set a new password by mail. The mail replaces the password, never the second factor."""

from __future__ import annotations

from datetime import timedelta

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.identity import key_rows, repository
from control_plane.identity.attempts import Attempts, mail_lanes, reset_lanes
from control_plane.identity.model import User
from control_plane.identity.notices import Notices
from control_plane.identity.passwords import Passwords, refuse_guessable
from control_plane.identity.registration import link_is_spent
from control_plane.identity.second_factor import SecondFactors, Shown
from control_plane.identity.service import Identity
from control_plane.identity.sessions import Browser, Sessions
from control_plane.identity.state import MailKind, SecurityChange
from control_plane.notifications import repository as mail_repository
from control_plane.notifications.service import Mails, link_hash

_LASTS = timedelta(hours=1)


class PasswordReset:
    def __init__(
        self,
        database: Database,
        identity: Identity,
        passwords: Passwords,
        sessions: Sessions,
        second_factors: SecondFactors,
        attempts: Attempts,
        mails: Mails,
        notices: Notices,
        clock: Clock,
    ) -> None:
        self._database = database
        self._identity = identity
        self._passwords = passwords
        self._sessions = sessions
        self._second_factors = second_factors
        self._attempts = attempts
        self._mails = mails
        self._notices = notices
        self._clock = clock

    def request(self, email: str, browser: Browser) -> None:
        """Does and answers the same whether or not the address has a user: the job that writes the mail finds out.

        Raises TooManyRequestsError. Links of mails that were sent before go on working, so that nobody can keep the
        owner from getting one.
        """
        address = email.lower()
        with self._database.write_as_system() as session:
            self._attempts.begin(session, mail_lanes(address, browser.address))
            tenant = self._identity.bootstrap(session)
            self._mails.put(session, tenant.id, MailKind.RESET_PASSWORD, address, "", _LASTS)

    def complete(self, token: str, password: str, shown: Shown, browser: Browser) -> str:
        """Set the password, end all sessions and revoke all keys for programs.

        Returns the secret that makes this browser a known device, so that failures of others do not make the owner
        wait at the sign-in that follows.

        Raises BadRequestError for a spent link, InvalidInputError for the password, UnauthorisedError
        `second_factor_required`, `bad_code` or `bad_passkey`, TooManyRequestsError.
        """
        user = self._user_of(token)
        refuse_guessable(password, (user.email, user.display_name))
        with self._database.read_as_system() as session:
            enrolled = self._second_factors.is_enrolled(session, user.id)
        if enrolled:
            self._identity.check_second_factor(user, shown, reset_lanes(user.id))
        password_hash = self._passwords.hash(password)
        with self._database.write_as_system() as session:
            now = self._clock.now()
            mail = mail_repository.redeemable(session, MailKind.RESET_PASSWORD, link_hash(token), now)
            if mail is None:
                raise link_is_spent()
            mail_repository.spend_all(session, MailKind.RESET_PASSWORD, mail.recipient, now)
            repository.held_user(session, user.id).password_hash = password_hash
            repository.delete_sessions_of(session, user.id)
            key_rows.revoke_all(session, user.id, now)
            self._notices.changed(session, user, SecurityChange.RESET_PASSWORD)
            return self._sessions.remember(session, user, browser)

    def _user_of(self, token: str) -> User:
        with self._database.read_as_system() as session:
            now = self._clock.now()
            mail = mail_repository.redeemable(session, MailKind.RESET_PASSWORD, link_hash(token), now, hold=False)
            if mail is None:
                raise link_is_spent()
            return session.get_one(User, mail.subject_id)
