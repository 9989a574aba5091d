"""Do what a key asks for at most once, and answer its repetitions as the first time.

What was begun and never answered (the process ended in between) is not done again: nobody knows whether it was done.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.errors import ConflictError
from control_plane.idempotency import repository
from control_plane.idempotency.model import RepeatableRequest
from control_plane.identity.model import User
from control_plane.vault import repository as vault_repository
from control_plane.vault.service import Vault

REMEMBERED = timedelta(days=1)
_LONGEST_REQUEST = timedelta(minutes=2)
_KEY_NAME = "requests"
_KEY_BYTES = 32


@dataclass(frozen=True)
class Asked:
    """One request of a user, as far as repeating it goes."""

    user: User
    key: str
    what: bytes = field(repr=False)
    """Everything in which two requests can differ."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = field(default=None, repr=False)
    """None when it is shown once and must not be kept."""


class Repetitions:
    def __init__(self, database: Database, secret: bytes, clock: Clock) -> None:
        self._database = database
        self._secret = secret
        self._clock = clock

    def begin(self, asked: Asked) -> Answer | None:
        """What was answered before, or None: then it is to be done now, and `answered` or `undone` to be called.

        Raises ConflictError for a key of another request, for one whose request still runs or was cut short, and for
        one whose answer was shown once.
        """
        try:
            return self._begin(asked)
        except IntegrityError:
            # The same key has come in by another way at the same moment, and is there now.
            return self._begin(asked)

    def answered(self, asked: Asked, answer: Answer) -> None:
        with self._database.write(asked.user.tenant_id) as session:
            row = self._row(session, asked)
            if row is not None:
                row.status, row.headers, row.body = answer.status, dict(answer.headers), answer.body

    def undone(self, asked: Asked) -> None:
        """It was refused, and nothing of it has been kept: the key is as new."""
        with self._database.write(asked.user.tenant_id) as session:
            row = self._row(session, asked)
            if row is not None:
                session.delete(row)

    def _begin(self, asked: Asked) -> Answer | None:
        fingerprint = hmac.new(self._secret, asked.what, hashlib.sha256).hexdigest()
        now = self._clock.now()
        with self._database.write(asked.user.tenant_id) as session:
            row = self._row(session, asked)
            if row is not None and now - row.started_at < REMEMBERED:
                return self._earlier(row, fingerprint)
            if row is not None:
                session.delete(row)
                session.flush()
            session.add(
                RepeatableRequest(
                    user_id=asked.user.id,
                    key=asked.key,
                    tenant_id=asked.user.tenant_id,
                    fingerprint=fingerprint,
                    started_at=now,
                    headers={},
                )
            )
        return None

    def _earlier(self, row: RepeatableRequest, fingerprint: str) -> Answer:
        if not hmac.compare_digest(row.fingerprint, fingerprint):
            raise ConflictError("This Idempotency-Key was used for another request.", code="idempotency_key_reused")
        if row.status is None:
            raise self._unanswered(row)
        if row.body is None:
            raise ConflictError(
                "This has been done. Its answer was shown once and is kept nowhere; use a new Idempotency-Key to do "
                "it again.",
                code="shown_once",
            )
        return Answer(row.status, row.headers, row.body)

    def _unanswered(self, row: RepeatableRequest) -> ConflictError:
        if self._clock.now() - row.started_at < _LONGEST_REQUEST:
            return ConflictError(
                "The first request with this Idempotency-Key is still being worked on.",
                code="request_in_progress",
                retryable=True,
                retry_after=1,
            )
        return ConflictError(
            "The first request with this Idempotency-Key was cut short. Look whether it has been done before you send "
            "it with a new key.",
            code="outcome_unknown",
        )

    def _row(self, session: Session, asked: Asked) -> RepeatableRequest | None:
        return repository.held(session, asked.user.tenant_id, asked.user.id, asked.key)


def load_or_create_secret(session: Session, vault: Vault) -> bytes:
    """By which requests are told apart; without it their fingerprints tell nothing. Raises SealBrokenError."""
    row = vault_repository.farm_key(session, _KEY_NAME)
    if row is not None:
        return vault.open_farm_key(row)
    secret = secrets.token_bytes(_KEY_BYTES)
    vault.put_farm_key(session, _KEY_NAME, secret, "")
    return secret
