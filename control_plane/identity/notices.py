"""Whatever changes how somebody signs in is written down, and told to them by mail."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy.orm import Session

from control_plane.audit.service import Audit, Deed
from control_plane.identity.model import User
from control_plane.identity.state import SecurityChange
from control_plane.notifications.service import Mails

_WORTH_TELLING = timedelta(days=7)


class Notices:
    def __init__(self, audit: Audit, mails: Mails) -> None:
        self._audit = audit
        self._mails = mails

    def changed(
        self,
        session: Session,
        user: User,
        change: SecurityChange,
        *,
        by: str = "",
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
    ) -> None:
        """A deed of a user at their own sign-in, unless it is somebody else's (`by`)."""
        deed = Deed(by or user.email, change, user.id, "", before=before, after=after)
        self._audit.record(session, user.tenant_id, deed)
        self.tell(session, user, change)

    def tell(self, session: Session, user: User, change: SecurityChange) -> None:
        """By mail, so that a change that was not theirs does not stay hidden."""
        self._mails.put(session, user.tenant_id, change.mail_kind, user.email, user.id, _WORTH_TELLING)
