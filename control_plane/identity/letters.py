"""The mails of sign-up, reset and changed security. Each is written when it is sent and says what holds then."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.identity import email_rows, repository
from control_plane.identity.state import OPERATOR, MailKind, SecurityChange
from control_plane.invitations import repository as invitation_repository
from control_plane.notifications.model import Mail
from control_plane.notifications.port import Letter
from control_plane.notifications.service import Composer, new_link_secret

_SOMETHING = "The password or the second factor was changed, or a key for programs was made."
"""Of mails that an earlier release put down."""
_CHANGES: Mapping[SecurityChange, str] = {
    SecurityChange.CHANGE_PASSWORD: "The password was changed. All other sessions have ended.",
    SecurityChange.RESET_PASSWORD: "A new password was set by mail. All sessions and keys for programs have ended.",
    SecurityChange.ENROL_SECOND_FACTOR: "An authenticator app was set up. All other sessions have ended.",
    SecurityChange.REMOVE_SECOND_FACTOR: "The authenticator app was turned off.",
    SecurityChange.RENEW_RECOVERY_CODES: "New recovery codes were made; those before them have ended.",
    SecurityChange.MAKE_API_KEY: "A key for programs was made.",
    SecurityChange.CHANGE_EMAIL: "The e-mail address was changed to this one.",
    SecurityChange.UNDO_EMAIL: (
        "The change of the e-mail address was undone. The password is void, and all sessions and keys have ended; "
        "another mail lets you set a new password."
    ),
    SecurityChange.ADD_PASSKEY: "A passkey was added. It can sign in without the password.",
    SecurityChange.REMOVE_PASSKEY: "A passkey was removed.",
    SecurityChange.SUSPEND_PASSKEY: (
        "A passkey was refused and is suspended: its counter went back, which means that somebody may have a copy of "
        "it. Remove it in the settings and add a new one."
    ),
}


class Letters:
    def __init__(self, farm_name: str, portal_url: str, clock: Clock) -> None:
        self._farm_name = farm_name
        self._portal_url = portal_url
        self._clock = clock

    def composers(self) -> Mapping[str, Composer]:
        return {
            MailKind.VERIFY_EMAIL: self._verify_email,
            MailKind.RESET_PASSWORD: self._reset_password,
            MailKind.INVITATION: self._invitation,
            MailKind.CONFIRM_EMAIL: self._confirm_email,
            MailKind.EMAIL_CHANGED: self._email_changed,
            MailKind.SECURITY_CHANGED: partial(self._security_changed, _SOMETHING),
            **{each.mail_kind: partial(self._security_changed, what) for each, what in _CHANGES.items()},
        }

    def _verify_email(self, session: Session, mail: Mail) -> Letter | None:
        """Whether the address has a user already is found out here and told to its owner only."""
        if repository.user_by_email(session, mail.recipient) is not None:
            return self._letter(
                mail,
                "You already have an account",
                f"Somebody, probably you, tried to create an account at {self._farm_name} with this address. You have "
                f"one already. Sign in here, or set a new password there if you have forgotten it:\n\n"
                f"{self._portal_url}/sign-in\n\nIf it was not you, nothing has to be done.",
            )
        if repository.sign_up(session, mail.subject_id, self._clock.now()) is None:
            return None
        return self._letter(
            mail,
            "Confirm your e-mail address",
            f"To finish your account at {self._farm_name}, open this address within a day and give the password that "
            f"you chose:\n\n{self._link('verify-email', mail)}\n\nIf you did not ask for an account, do nothing.",
        )

    def _reset_password(self, session: Session, mail: Mail) -> Letter | None:
        """Nobody who asks learns whether there is such a user; an address without one gets no mail."""
        user = repository.user_by_email(session, mail.recipient)
        if user is None:
            return None
        mail.tenant_id, mail.subject_id = user.tenant_id, user.id
        return self._letter(
            mail,
            "Set a new password",
            f"Somebody, probably you, asked for a new password at {self._farm_name}. Open this address within an hour "
            f"to set it:\n\n{self._link('reset-password', mail)}\n\nYour second factor is asked for as well, if you "
            "have one. If it was not you, do nothing: your password stays as it is.",
        )

    def _invitation(self, session: Session, mail: Mail) -> Letter | None:
        found = invitation_repository.open_one(session, mail.subject_id, self._clock.now())
        if found is None:
            return None
        invitation, tenant = found
        where = self._farm_name if tenant.kind == OPERATOR else f"{tenant.name} ({self._farm_name})"
        if repository.user_by_email(session, mail.recipient) is not None:
            return self._letter(
                mail,
                "You are invited, but have an account already",
                f"{invitation.invited_by} has invited you to {where}, but this address has an account already, and "
                "each is for one. Ask to be invited at another address, or change the address of your account first.",
            )
        return self._letter(
            mail,
            "You are invited",
            f"{invitation.invited_by} has invited you to {where}, as {invitation.role}. Open this address until "
            f"{invitation.expires_at:%d %B %Y} to choose a password:\n\n{self._link('accept-invitation', mail)}\n\n"
            "If you do not want to, do nothing.",
        )

    def _confirm_email(self, session: Session, mail: Mail) -> Letter:
        """Whether the address has a user already is told to its owner only."""
        if repository.user_by_email(session, mail.recipient) is not None:
            return self._letter(
                mail,
                "This address has an account already",
                f"Somebody, probably you, wants to give another account at {self._farm_name} this address, which has "
                "one already. Nothing has changed. If it was not you, nothing has to be done.",
            )
        return self._letter(
            mail,
            "Confirm your new e-mail address",
            f"Somebody, probably you, wants to give an account at {self._farm_name} this address. Open this address "
            f"within a day, where you are signed in:\n\n{self._link('confirm-email', mail)}\n\nIf it was not you, do "
            "nothing.",
        )

    def _email_changed(self, session: Session, mail: Mail) -> Letter | None:
        change = email_rows.one(session, mail.subject_id)
        if change is None or change.undone_at is not None:
            return None
        return self._letter(
            mail,
            "Your e-mail address was changed",
            f"The e-mail address of your account at {self._farm_name} was changed to {change.new_email}. If it was "
            "you, nothing has to be done. If it was not, open this address within a week to take the old one back; the "
            f"password is void then, and everybody is signed out:\n\n{self._link('undo-email-change', mail)}",
        )

    def _security_changed(self, what: str, _session: Session, mail: Mail) -> Letter:
        return self._letter(
            mail,
            "Your sign-in was changed",
            f"{what} This is about your account at {self._farm_name}. What there is now:\n\n"
            f"{self._portal_url}/settings\n\nIf it was not you, set a new password at once and end all sessions.",
        )

    def _letter(self, mail: Mail, subject: str, text: str) -> Letter:
        return Letter(mail.id, mail.recipient, f"{self._farm_name}: {subject}", f"{text}\n")

    def _link(self, page: str, mail: Mail) -> str:
        """The secret is behind the #, where it reaches no server's log."""
        return f"{self._portal_url}/{page}#{new_link_secret(mail)}"
