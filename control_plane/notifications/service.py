"""Write mails down in the transaction of their reason, and send them afterwards."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta

from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.ids import new_id
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import JobKind
from control_plane.notifications import repository
from control_plane.notifications.model import Mail
from control_plane.notifications.port import Letter, Post

Composer = Callable[[Session, Mail], Letter | None]
"""Writes the text of a mail when it is sent; None when there is nothing to say any more."""


class Mails:
    def __init__(
        self, database: Database, outbox: Outbox, post: Post, composers: Mapping[str, Composer], clock: Clock
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._post = post
        self._composers = composers
        self._clock = clock

    def put(
        self, session: Session, tenant_id: str, kind: str, recipient: str, subject_id: str, lasts: timedelta
    ) -> None:
        """`lasts` is how long it is worth sending, and how long its link works."""
        now = self._clock.now()
        mail = Mail(
            id=new_id("mai"),
            tenant_id=tenant_id,
            kind=kind,
            recipient=recipient,
            subject_id=subject_id,
            created_at=now,
            expires_at=now + lasts,
        )
        session.add(mail)
        session.flush()
        self._outbox.put(session, JobKind.SEND_MAIL, mail.id)

    def deliver(self, mail_id: str) -> None:
        """The job: safe to repeat. Raises PostError when it has to be tried again.

        The link's hash is committed before the mail goes, so that a link that arrives works.
        """
        with self._database.write_as_system() as session:
            mail = repository.held(session, mail_id)
            if mail is None or mail.sent_at is not None or mail.expires_at <= self._clock.now():
                return
            letter = self._composers[mail.kind](session, mail)
            if letter is None:
                mail.sent_at = self._clock.now()
        if letter is None:
            return
        self._post.send(letter)
        with self._database.write_as_system() as session:
            sent = repository.held(session, mail_id)
            if sent is not None:
                sent.sent_at = self._clock.now()


def new_link_secret(mail: Mail) -> str:
    """A secret for the link in a mail; the farm keeps its hash."""
    secret = secrets.token_urlsafe(32)
    mail.secret_hash = link_hash(secret)
    return secret


def link_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
