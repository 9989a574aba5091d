"""Let nodes in, know them again, and keep count of what each should run."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.orm import Session

from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.engine import after_commit
from control_plane.errors import ConflictError, UnauthorisedError
from control_plane.fleet import repository
from control_plane.fleet.model import EnrolmentToken, Node, SeenRequest
from control_plane.fleet.state import NodeState
from control_plane.ids import new_id
from node_agent.protocol import identity
from node_agent.protocol.encoding import from_text

TOKEN_LIFETIME = timedelta(minutes=15)
IDENTITY_LIFETIME = timedelta(hours=24)


class Fleet:
    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    def issue_token(self, session: Session, tenant_id: str, name: str) -> str:
        """A one-time enrolment token for a node of this name; shown once, kept only as a hash."""
        token = f"mfe_{secrets.token_urlsafe(32)}"
        row = EnrolmentToken(
            id=new_id("enr"),
            tenant_id=tenant_id,
            name=name,
            token_hash=_hash(token),
            expires_at=self._clock.now() + TOKEN_LIFETIME,
        )
        session.add(row)
        return token

    def redeem_token(self, session: Session, token: str) -> EnrolmentToken:
        """Raises UnauthorisedError for a token that is unknown, expired or used before."""
        row = repository.redeem_token(session, _hash(token), self._clock.now())
        if row is not None:
            return row
        known = repository.token_exists(session, _hash(token))
        if known is not None and known.used_at is not None:
            raise UnauthorisedError("This enrolment token was used before; make a new one.", code="token_used")
        if known is not None:
            raise UnauthorisedError("This enrolment token has expired; make a new one.", code="token_expired")
        raise UnauthorisedError("The farm does not know this enrolment token.", code="token_unknown")

    def authenticate(self, session: Session, header: str, method: str, target: str, body: bytes) -> Node:
        """The node that signed a request. Raises UnauthorisedError; accepts each signature once."""
        now = self._clock.now()
        try:
            node = repository.node(session, identity.claimed_node(header))
            if node is None:
                raise UnauthorisedError("The farm does not know this node; enrol it again.", code="node_unknown")
            key = Ed25519PublicKey.from_public_bytes(from_text(node.identity_key))
            signed = identity.verify_request(key, header, method, target, body)
        except identity.IdentityError as error:
            raise UnauthorisedError(
                f"The request is not signed as it must be: {error}.", code="bad_signature"
            ) from error
        if node.identity_expires_at <= now:
            raise UnauthorisedError("The node's identity has expired; enrol it again.", code="identity_expired")
        if repository.request_was_seen(session, signed.token_id):
            raise UnauthorisedError("This signed request was sent before.", code="request_replayed")
        lifetime = timedelta(seconds=identity.LIFETIME_SECONDS + 2 * identity.CLOCK_SKEW_SECONDS)
        session.add(SeenRequest(token_id=signed.token_id, expires_at=now + lifetime))
        return node

    def hear(self, node: Node, boot_id: str, sequence: int) -> None:
        """A sync has come. Raises when its order shows an old message or a second machine with the same keys."""
        if boot_id == node.superseded_boot_id and boot_id != node.boot_id:
            raise ConflictError("A newer start of this node has already reported.", code="boot_superseded")
        if boot_id == node.boot_id and sequence <= node.sequence:
            raise ConflictError("A newer report of this node has already arrived.", code="sequence_outdated")
        if boot_id != node.boot_id:
            node.superseded_boot_id = node.boot_id
        now = self._clock.now()
        node.boot_id, node.sequence, node.last_seen_at = boot_id, sequence, now
        node.state = NodeState.ONLINE
        node.identity_expires_at = now + IDENTITY_LIFETIME

    def forgive_absence(self, session: Session, since: datetime) -> None:
        """Time in which nobody could be heard does not count against the nodes' identities.

        Otherwise a control plane that was off for a day would have to enrol its whole fleet again.
        """
        absence = self._clock.now() - since
        for node in repository.with_identity_at(session, since):
            node.identity_expires_at += absence

    def desired_changed(self, session: Session, node_id: str) -> None:
        """Must be called in the transaction that changes what the node should run."""
        repository.raise_generation(session, node_id)
        after_commit(session, lambda: self._bus.publish(Change(Topic.GENERATION, node_id)))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
