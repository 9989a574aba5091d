"""Change of one's e-mail address: confirmed at the new one, and undone from the old one by who did not want it."""

from __future__ import annotations

import secrets
from datetime import timedelta

from sqlalchemy.orm import Session

from control_plane.audit.service import Audit, Deed
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.errors import ConflictError, invalid_field
from control_plane.identity import email_rows, key_rows, repository
from control_plane.identity.attempts import Attempts, mail_lanes
from control_plane.identity.model import EmailChange, User
from control_plane.identity.notices import Notices
from control_plane.identity.passwords import Passwords
from control_plane.identity.registration import link_is_spent
from control_plane.identity.sessions import Browser
from control_plane.identity.state import MailKind, SecurityChange
from control_plane.ids import new_id
from control_plane.notifications import repository as mail_repository
from control_plane.notifications.model import Mail
from control_plane.notifications.service import Mails, link_hash

_TO_CONFIRM = timedelta(days=1)
_TO_UNDO = timedelta(days=7)
_TO_RESET = timedelta(hours=1)


class EmailChanges:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        attempts: Attempts,
        mails: Mails,
        notices: Notices,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._attempts = attempts
        self._mails = mails
        self._notices = notices
        self._audit = audit
        self._clock = clock

    def request(self, user: User, email: str, browser: Browser) -> None:
        """Send a link to the new address; an earlier wish ends. Does the same whether or not the address has a user.

        Raises InvalidInputError for the present address, TooManyRequestsError.
        """
        address = email.lower()
        if address == user.email:
            raise invalid_field("email", "This is your address already.")
        with self._database.write_as_system() as session:
            self._attempts.begin(session, mail_lanes(address, browser.address))
        with self._database.write(user.tenant_id) as session:
            repository.held_user(session, user.id)
            email_rows.forget_wishes(session, user.id)
            now = self._clock.now()
            wish = EmailChange(
                id=new_id("emc"),
                tenant_id=user.tenant_id,
                user_id=user.id,
                old_email=user.email,
                new_email=address,
                created_at=now,
                expires_at=now + _TO_CONFIRM,
            )
            session.add(wish)
            session.flush()
            self._mails.put(session, user.tenant_id, MailKind.CONFIRM_EMAIL, address, wish.id, _TO_CONFIRM)
            facts = {"email": address}
            self._audit.record(session, user.tenant_id, Deed(user.email, "ask_for_email", user.id, "", after=facts))

    def confirm(self, caller: User, token: str) -> User:
        """The user with the new address. A mail with a link to undo it goes to the old one.

        The link proves the address, and only who asked for it may use it: a stranger to whom a mistyped address belongs
        must not become able to ask for a new password. Raises BadRequestError `link_spent`.
        """
        with self._database.write_as_system() as session:
            now = self._clock.now()
            mail, change = self._redeemable(session, MailKind.CONFIRM_EMAIL, token)
            user = repository.held_user(session, caller.id)
            taken = repository.user_by_email(session, change.new_email) is not None
            if change.user_id != user.id or change.confirmed_at is not None or change.expires_at <= now or taken:
                raise link_is_spent()
            change.old_email = user.email
            self._move(session, user, change.new_email)
            mail.used_at = change.confirmed_at = now
            self._mails.put(session, user.tenant_id, MailKind.EMAIL_CHANGED, change.old_email, change.id, _TO_UNDO)
            before, after = {"email": change.old_email}, {"email": change.new_email}
            self._notices.changed(
                session, user, SecurityChange.CHANGE_EMAIL, by=change.old_email, before=before, after=after
            )
            return user

    def undo(self, token: str) -> None:
        """Give the old address back to the user, and let nobody in who may have taken it from them: the password is
        void, sessions, links and keys end, and a mail to set a new password goes to the old address.

        Raises BadRequestError `link_spent`, ConflictError when somebody else has the old address by now.
        """
        void = self._passwords.hash(secrets.token_urlsafe(32))
        with self._database.write_as_system() as session:
            now = self._clock.now()
            mail, change = self._redeemable(session, MailKind.EMAIL_CHANGED, token)
            if change.confirmed_at is None or change.undone_at is not None:
                raise link_is_spent()
            user = repository.held_user(session, change.user_id)
            present = user.email
            owner = repository.user_by_email(session, change.old_email)
            if owner is not None and owner.id != user.id:
                raise ConflictError("Somebody else has this address now. Please ask the operator.", code="email_taken")
            self._move(session, user, change.old_email)
            mail.used_at = change.undone_at = now
            email_rows.forget_wishes(session, user.id)
            user.password_hash = void
            repository.delete_sessions_of(session, user.id)
            repository.delete_devices_of(session, user.id)
            key_rows.revoke_all(session, user.id, now)
            self._mails.put(session, user.tenant_id, MailKind.RESET_PASSWORD, user.email, user.id, _TO_RESET)
            facts: tuple[dict[str, object], dict[str, object]] = {"email": present}, {"email": user.email}
            self._notices.changed(
                session, user, SecurityChange.UNDO_EMAIL, by=user.email, before=facts[0], after=facts[1]
            )

    def _redeemable(self, session: Session, kind: MailKind, token: str) -> tuple[Mail, EmailChange]:
        mail = mail_repository.redeemable(session, kind, link_hash(token), self._clock.now())
        change = None if mail is None else email_rows.one(session, mail.subject_id)
        if mail is None or change is None:
            raise link_is_spent()
        return mail, change

    def _move(self, session: Session, user: User, email: str) -> None:
        """Links that went to the address before must not open the account any more."""
        mail_repository.spend_all(session, MailKind.RESET_PASSWORD, user.email, self._clock.now())
        user.email = email
        session.flush()
