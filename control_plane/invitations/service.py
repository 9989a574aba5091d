"""Invite somebody into a tenant, take it back, and become a user with the link of the mail."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.orm import Session

from control_plane.audit.service import Audit, Deed
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.db.tenancy import as_system
from control_plane.errors import ConflictError, ForbiddenError, NotFoundError
from control_plane.identity import repository as identity_repository
from control_plane.identity.attempts import Attempts, mail_lanes
from control_plane.identity.model import User
from control_plane.identity.passwords import Passwords, refuse_guessable
from control_plane.identity.registration import Registration, link_is_spent
from control_plane.identity.sessions import Browser, Sessions, SignedIn
from control_plane.identity.state import MailKind, Role
from control_plane.ids import new_id
from control_plane.invitations import repository
from control_plane.invitations.model import Invitation
from control_plane.members.state import may_change_role
from control_plane.notifications import repository as mail_repository
from control_plane.notifications.model import Mail
from control_plane.notifications.service import Mails, link_hash

MOST_OPEN = 1000


class Invitations:
    def __init__(
        self,
        database: Database,
        registration: Registration,
        passwords: Passwords,
        sessions: Sessions,
        attempts: Attempts,
        mails: Mails,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._database = database
        self._registration = registration
        self._passwords = passwords
        self._sessions = sessions
        self._attempts = attempts
        self._mails = mails
        self._audit = audit
        self._clock = clock

    def invite(
        self, session: Session, by: User, email: str, role: Role, lasts: timedelta, browser: Browser
    ) -> Invitation:
        """Send a link to an address; an earlier one of the same tenant ends. Whether the address has a user already is
        found out when the mail is written, and told to its owner only.

        Raises ForbiddenError for a role that is not theirs to give, ConflictError, TooManyRequestsError.
        """
        if not may_change_role(Role(by.role), Role.TRADER, role):
            raise ForbiddenError("You cannot invite somebody into this role.", code="role_required")
        with as_system(session):
            self._attempts.begin(session, mail_lanes(email.lower(), browser.address))
        return self.put(session, by.tenant_id, by.email, email, role, lasts)

    def put(self, session: Session, tenant_id: str, by: str, email: str, role: Role, lasts: timedelta) -> Invitation:
        """The same for somebody who may invite into any role. Raises ConflictError."""
        address, now = email.lower(), self._clock.now()
        repository.revoke_earlier(session, tenant_id, address, now)
        if repository.count_open(session, tenant_id, now) >= MOST_OPEN:
            raise ConflictError(f"{MOST_OPEN} invitations are open; revoke some first.", code="too_many_invitations")
        row = Invitation(
            id=new_id("inv"),
            tenant_id=tenant_id,
            email=address,
            role=role,
            invited_by=by,
            created_at=now,
            expires_at=now + lasts,
        )
        session.add(row)
        session.flush()
        self._mails.put(session, tenant_id, MailKind.INVITATION, address, row.id, lasts)
        self._audit.record(session, tenant_id, Deed(by, "invite", row.id, "", after={"email": address, "role": role}))
        return row

    def revoke(self, session: Session, by: User, invitation_id: str) -> None:
        """Its link is of no use any more. Raises NotFoundError for one of another tenant as for none."""
        row = repository.revoke(session, by.tenant_id, invitation_id, self._clock.now())
        if row is None:
            raise NotFoundError("There is no such invitation.", code="invitation_not_found")
        facts = {"email": row.email, "role": row.role}
        self._audit.record(session, by.tenant_id, Deed(by.email, "revoke_invitation", row.id, "", before=facts))

    def accept(self, token: str, password: str, display_name: str, browser: Browser) -> SignedIn:
        """Become a user of the tenant that invites, and sign in. The link proves the address, and works once.

        Raises BadRequestError `link_spent`, InvalidInputError for the password.
        """
        with self._database.read_as_system() as session:
            _, invitation = self._redeemable(session, token, hold=False)
        refuse_guessable(password, (invitation.email, display_name))
        password_hash = self._passwords.hash(password)
        with self._database.write_as_system() as session:
            mail, invitation = self._redeemable(session, token, hold=True)
            if identity_repository.user_by_email(session, invitation.email) is not None:
                raise link_is_spent()
            mail.used_at = invitation.accepted_at = self._clock.now()
            tenant_id, role = invitation.tenant_id, Role(invitation.role)
            user = self._registration.add(session, tenant_id, invitation.email, display_name, password_hash, role)
            identity_repository.delete_sign_ups_of(session, invitation.email)
            facts = {"role": role, "invited_by": invitation.invited_by, "invitation": invitation.id}
            self._audit.record(session, tenant_id, Deed(user.email, "accept_invitation", user.id, "", after=facts))
            return self._sessions.open(session, user, browser, second_factor=False)

    def _redeemable(self, session: Session, token: str, *, hold: bool) -> tuple[Mail, Invitation]:
        """Raises BadRequestError."""
        now = self._clock.now()
        mail = mail_repository.redeemable(session, MailKind.INVITATION, link_hash(token), now, hold=hold)
        found = None if mail is None else repository.open_one(session, mail.subject_id, now)
        if mail is None or found is None:
            raise link_is_spent()
        return mail, found[0]
