"""Let nodes in, know them again, and keep count of what each should run."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.orm import Session

from control_plane.assignments.relocation import NodeFacts, fence_due
from control_plane.audit.origin import present_origin
from control_plane.audit.service import THE_FARM, Audit, Deed
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.engine import after_commit
from control_plane.db.tenancy import as_system
from control_plane.errors import ConflictError, FarmError, ForbiddenError, UnauthorisedError
from control_plane.fleet import repository
from control_plane.fleet.model import EnrolmentToken, Node
from control_plane.fleet.repository import Identity
from control_plane.fleet.state import Continuity, IdentityState, NodeState, change_identity, judge_continuity
from control_plane.ids import new_id
from node_agent.protocol import identity
from node_agent.protocol.encoding import from_text
from node_agent.protocol.messages import SyncRequest

TOKEN_LIFETIME = timedelta(minutes=15)
IDENTITY_LIFETIME = timedelta(hours=24)
FIRST_PROTOCOL = "1.0"
"""Its agents know of no continuity."""
_MOST_KEYS = 10_000
_Known = TypeVar("_Known", Node, Identity)


@dataclass(frozen=True)
class Caller:
    """The node that signed a request, and when, by its own clock (seconds since 1970)."""

    node: Node
    signed_at: int
    request_id: str
    """Known only once; see `Fleet.forget`."""


@dataclass(frozen=True)
class SignedReport:
    """A sync as it came, from this address, and not looked into yet."""

    node_id: str
    """Claimed, and no more."""
    header: str = field(repr=False)
    path: str
    body: bytes = field(repr=False)
    address: str
    origin: str
    """Of what it makes the farm do, for the audit trail."""

    @classmethod
    def read(cls, header: str, path: str, body: bytes, address: str = "") -> SignedReport:
        """Raises UnauthorisedError when the header names no node."""
        return cls(_claimed_node(header), header, path, body, address, present_origin())


@dataclass(frozen=True)
class NodePlace:
    """What a node is for placement from its first moment on."""

    pool: str = "default"
    region: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    dedicated_tenant_id: str | None = None


class Fleet:
    def __init__(self, audit: Audit, bus: Bus, clock: Clock) -> None:
        self._audit = audit
        self._bus = bus
        self._clock = clock

    def issue_token(self, session: Session, tenant_id: str, name: str, place: NodePlace | None = None) -> str:
        """A one-time enrolment token for a node of this name; shown once, kept only as a hash."""
        place = place or NodePlace()
        token = f"mfe_{secrets.token_urlsafe(32)}"
        row = EnrolmentToken(
            id=new_id("enr"),
            tenant_id=tenant_id,
            name=name,
            token_hash=_hash(token),
            expires_at=self._clock.now() + TOKEN_LIFETIME,
            pool=place.pool,
            region=place.region,
            labels=dict(place.labels),
            dedicated_tenant_id=place.dedicated_tenant_id,
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

    def authenticate(
        self,
        session: Session,
        header: str,
        method: str,
        target: str,
        body: bytes,
    ) -> Caller:
        """Who signed a request; each signature counts once.

        Raises UnauthorisedError, or ForbiddenError for an identity that is locked or revoked.
        """
        caller = self._verify(repository.node(session, _claimed_node(header)), header, method, target, body)
        if not repository.take_requests(session, [caller.request_id], self._remembered_until()):
            raise _replayed_error()
        return caller

    def verify(self, session: Session, header: str, method: str, target: str, body: bytes) -> None:
        """Nothing is written: hearing it once more is found out by `authenticate`.

        Raises UnauthorisedError, or ForbiddenError, unless a node that is trusted has signed this.
        """
        name = _claimed_node(header)
        self._check(repository.identities(session, {name}).get(name), header, method, target, body)

    def generations_for(self, session: Session, target: str, headers: Sequence[str]) -> list[int | FarmError]:
        """The generation of each node that signed a wait for news, or what is wrong, in their order.

        Such a request changes nothing and its answer is no secret: hearing it twice does no harm, so that nothing is
        written.
        """
        named = [_name_of(header) for header in headers]
        known = repository.identities(session, {each for each in named if isinstance(each, str)})
        found: list[int | FarmError] = []
        for header, name in zip(headers, named, strict=True):
            try:
                if not isinstance(name, str):
                    raise name
                found.append(self._check(known.get(name), header, "GET", target, b"")[0].generation)
            except FarmError as error:
                found.append(error)
        return found

    def authenticate_all(self, session: Session, reports: Sequence[SignedReport]) -> list[Caller | FarmError | None]:
        """Who signed reports, or what is wrong, in their order. The nodes are held until the transaction ends.

        None for one of several that has to be taken alone: the second of a node, or of a node that is unknown or held
        by another transaction.
        """
        several = len(reports) > 1
        nodes = repository.hold_nodes(session, {each.node_id for each in reports}, wait=not several)
        found = [
            None if several and each.node_id not in nodes else self._try(nodes.pop(each.node_id, None), each)
            for each in reports
        ]
        ids = {each.request_id for each in found if isinstance(each, Caller)}
        fresh = repository.take_requests(session, ids, self._remembered_until())
        for place, each in enumerate(found):
            if isinstance(each, Caller):
                if each.request_id not in fresh:
                    found[place] = _replayed_error()
                fresh.discard(each.request_id)
        return found

    def _try(self, node: Node | None, report: SignedReport) -> Caller | FarmError | None:
        try:
            return self._verify(node, report.header, "POST", report.path, report.body)
        except FarmError as error:
            return error

    def _verify(self, node: Node | None, header: str, method: str, target: str, body: bytes) -> Caller:
        known, signed = self._check(node, header, method, target, body)
        return Caller(known, signed.signed_at, signed.token_id)

    def _check(
        self, node: _Known | None, header: str, method: str, target: str, body: bytes
    ) -> tuple[_Known, identity.SignedRequest]:
        """The node if the request is really its own, and what it has signed."""
        now = self._clock.now()
        if node is None:
            raise UnauthorisedError("The farm does not know this node; enrol it again.", code="node_unknown")
        try:
            signed = identity.verify_request(_public_key(node.identity_key), header, method, target, body)
        except identity.IdentityError as error:
            raise _signature_error(error) from error
        _check_trust(node)
        if node.identity_expires_at <= now:
            raise UnauthorisedError("The node's identity has expired; enrol it again.", code="identity_expired")
        return node, signed

    def forget(self, session: Session, callers: Sequence[Caller]) -> None:
        """Nothing came of their requests."""
        if callers:
            repository.forget_requests(session, [each.request_id for each in callers])

    def _remembered_until(self) -> datetime:
        lifetime = identity.LIFETIME_SECONDS + 2 * identity.CLOCK_SKEW_SECONDS
        return self._clock.now() + timedelta(seconds=lifetime)

    def hear(self, caller: Caller, sync: SyncRequest) -> bool:
        """A sync has come. False, and nothing is taken from it, when it shows that a second machine has the same keys.

        Raises ConflictError when its order shows an old message.
        """
        node = caller.node
        if sync.boot_id == node.boot_id and sync.sequence <= node.sequence:
            raise ConflictError("A newer report of this node has already arrived.", code="sequence_outdated")
        if sync.boot_id != node.boot_id and caller.signed_at < node.signed_at:
            # From a start before the present one, or from before an unlock, and long under way.
            raise ConflictError("A newer report of this node has already arrived.", code="sequence_outdated")
        speaks = sync.protocol != FIRST_PROTOCOL
        known = Continuity(node.continuity_newest, node.continuity_acknowledged)
        continuity = judge_continuity(known, sync.continuity, speaks=speaks)
        superseded = sync.boot_id == node.superseded_boot_id and sync.boot_id != node.boot_id
        if superseded and not speaks:
            raise ConflictError("A newer start of this node has already reported.", code="boot_superseded")
        if continuity is None or superseded:
            # A message that was under way for long, from before the node started anew or went on, proves nothing.
            if caller.signed_at <= node.signed_at:
                raise ConflictError("A newer report of this node has already arrived.", code="sequence_outdated")
            return False
        if sync.boot_id != node.boot_id:
            node.superseded_boot_id = node.boot_id
        node.boot_id, node.sequence, node.signed_at = sync.boot_id, sync.sequence, caller.signed_at
        node.continuity_newest = secrets.token_hex(16) if speaks else continuity.newest
        node.continuity_acknowledged = continuity.acknowledged
        self._mark_heard(node)
        return True

    def _mark_heard(self, node: Node) -> None:
        now = self._clock.now()
        node.state, node.last_seen_at, node.silent_since = NodeState.ONLINE, now, None
        node.declared_dead_at = None
        node.identity_expires_at = now + IDENTITY_LIFETIME

    def lock(self, session: Session, node: Node, note: str) -> None:
        """Nothing that is signed with this identity is believed until an operator unlocks it."""
        node.identity_state = change_identity(IdentityState(node.identity_state), IdentityState.LOCKED)
        node.identity_note = note
        self._audit.record(session, node.tenant_id, Deed(THE_FARM, "lock", node.id, note))

    def grant_lease(self, node: Node, fence_seconds: float) -> None:
        """To be called last in the transaction of a sync's answer, so that our lease never starts before the node's."""
        now = self._clock.now()
        node.lease_granted_at = now
        due = fence_due(now, fence_seconds)
        # An answer that never arrives must not shorten what an earlier one allowed.
        node.fence_due_at = due if node.fence_due_at is None else max(node.fence_due_at, due)

    def forgive_absence(self, session: Session, since: datetime) -> None:
        """Time in which nobody could be heard does not count against the nodes' identities.

        Otherwise a control plane that was off for a day would have to enrol its whole fleet again.
        """
        absence = self._clock.now() - since
        for node in repository.with_identity_at(session, since):
            node.identity_expires_at += absence

    def desired_changed(self, session: Session, *node_ids: str) -> None:
        """Must be called in the transaction that changes what the nodes should run."""
        if not node_ids:
            return
        with as_system(session):  # nodes are the operator's, whoever's terminals they hold
            repository.raise_generations(session, node_ids)
        after_commit(session, lambda: self._announce_generations(node_ids))

    def _announce_generations(self, node_ids: Sequence[str]) -> None:
        for node_id in node_ids:
            self._bus.publish(Change(Topic.GENERATION, node_id))


def node_facts(node: Node, *, lost: bool, powered_off: bool = False) -> NodeFacts:
    """What relocation has to know of a node."""
    return NodeFacts(
        lost=lost,
        locked=node.identity_state == IdentityState.LOCKED,
        watchdog_up=node.report.get("watchdog_up") is True,
        fence_due_at=node.fence_due_at,
        powered_off=powered_off,
    )


def locked_error() -> ForbiddenError:
    """The answer to every request of an identity that two machines have used."""
    return ForbiddenError(
        "Two machines use this node's identity, so it is locked. An operator has to look.", code="identity_locked"
    )


def _check_trust(node: Node | Identity) -> None:
    if node.identity_state == IdentityState.LOCKED:
        raise locked_error()
    if node.identity_state == IdentityState.REVOKED:
        raise ForbiddenError("The node's identity was revoked; enrol it again.", code="identity_revoked")


def _claimed_node(header: str) -> str:
    try:
        return identity.claimed_node(header)
    except identity.IdentityError as error:
        raise _signature_error(error) from error


def _name_of(header: str) -> str | FarmError:
    try:
        return _claimed_node(header)
    except FarmError as error:
        return error


@lru_cache(_MOST_KEYS)
def _public_key(text: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(from_text(text))


def _signature_error(error: identity.IdentityError) -> UnauthorisedError:
    return UnauthorisedError(f"The request is not signed as it must be: {error}.", code="bad_signature")


def _replayed_error() -> UnauthorisedError:
    return UnauthorisedError("This signed request was sent before.", code="request_replayed")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
