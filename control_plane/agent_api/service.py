"""The four exchanges with the agents."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from pydantic import ValidationError
from sqlalchemy.orm import Session

from control_plane.access.tickets import TicketIssuer
from control_plane.agent_api.intake import ConcernsAllError, Intake
from control_plane.agent_api.snapshot import build_snapshots
from control_plane.assignments import repository as assignments_repository
from control_plane.assignments.relocation import LeasePolicy
from control_plane.audit.origin import coming_from
from control_plane.audit.service import Audit, Deed
from control_plane.bus.port import Bus
from control_plane.certificates.service import Authority
from control_plane.clock import Clock
from control_plane.config import Settings
from control_plane.db.engine import Database, after_commit, is_unreachable
from control_plane.errors import FarmError, InvalidInputError, NotFoundError, invalid_field
from control_plane.fleet import repository
from control_plane.fleet.model import Node
from control_plane.fleet.service import IDENTITY_LIFETIME, Caller, Fleet, SignedReport, locked_error
from control_plane.fleet.state import NodeState
from control_plane.ids import new_id
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals.bundles import Bundles
from control_plane.terminals.state import RequestKind
from control_plane.vault.service import Vault
from node_agent.protocol.encoding import from_text
from node_agent.protocol.messages import (
    BUNDLE_BYTES,
    DesiredSnapshot,
    EnrollRequest,
    EnrollResponse,
    EventAck,
    EventBatch,
    SyncRequest,
    SyncResponse,
)

WATCH_SECONDS = 25.0
_SECOND_LIFE = "Two machines used this identity: one of them showed a token that the other had replaced."
_log = structlog.get_logger(__name__)


Answer = SyncResponse | Exception


@dataclass(frozen=True)
class Heard:
    """A report that is believed, and in what state the node was before."""

    node: Node
    sync: SyncRequest
    before: NodeState
    address: str


class AgentApi:
    """Blocking, except `watch`. Every method raises FarmError."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        fleet: Fleet,
        intake: Intake,
        vault: Vault,
        authority: Authority,
        tickets: TicketIssuer,
        bundles: Bundles,
        audit: Audit,
        bus: Bus,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._database = database
        self._fleet = fleet
        self._intake = intake
        self._vault = vault
        self._authority = authority
        self._tickets = tickets
        self._bundles = bundles
        self._audit = audit
        self._bus = bus
        self._clock = clock

    def enroll(self, request: EnrollRequest, address: str = "") -> EnrollResponse:
        """Let a node in that calls from this address. The token is used up only when everything else is right."""
        _check_keys(request)
        _check_address(request.gateway_address)
        node_id = new_id("nod")
        # The node's own id alone: a host of its choosing could be the name of this control plane or of another node.
        certificate = self._authority.issue_for_request(request.gateway_csr, [node_id])
        now = self._clock.now()
        with self._database.write_as_system() as session:
            token = self._fleet.redeem_token(session, request.token)
            node = Node(
                id=node_id,
                tenant_id=token.tenant_id,
                name=token.name or request.name,
                state=NodeState.ONLINE,
                identity_key=request.identity_key,
                sealing_key=request.sealing_key,
                gateway_address=request.gateway_address,
                runtimes=request.runtimes,
                slots=request.slots,
                platform=request.platform[:100],
                enrolled_at=now,
                identity_expires_at=now + IDENTITY_LIFETIME,
                last_seen_at=now,
                boot_id="",
                superseded_boot_id="",
                sequence=0,
                generation=1,
                report={},
                protocol=request.protocol[:8],
                pool=token.pool,
                region=token.region,
                labels=token.labels,
                dedicated_tenant_id=token.dedicated_tenant_id,
                seen_from=address[:45],
            )
            session.add(node)
            session.flush()
            token.node_id = node_id
            facts = {"name": node.name, "slots": node.slots, "platform": node.platform, "enrolment": token.id}
            self._audit.record(session, node.tenant_id, Deed(f"node:{node_id}", "enrol", node_id, "", after=facts))
        _log.info("node_enrolled", node=node_id, name=node.name, slots=node.slots)
        return EnrollResponse(
            node_id=node_id,
            identity_expires_at=node.identity_expires_at,
            ca_pem=self._authority.pem,
            gateway_certificate=certificate,
            ticket_keys=self._tickets.public_keys(),
            sync_seconds=self._settings.sync_seconds,
        )

    def sync(self, header: str, path: str, body: bytes, address: str = "") -> SyncResponse:
        """Observations in, desired snapshot out, in one transaction, with a node that calls from this address."""
        answer = self.sync_all([SignedReport.read(header, path, body, address)])[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sync_all(self, reports: Sequence[SignedReport]) -> list[Answer]:
        """The same of many nodes, in as few transactions as can be; answers, or what is wrong, in their order.

        Whatever becomes of one of them, the others are answered as if each had come alone.
        """
        answers: Sequence[Answer | None] = [None] * len(reports)
        if len(reports) > 1:
            try:
                answers = self._take_all(reports)
            except ConcernsAllError:
                pass
            except Exception as error:  # noqa: BLE001 - whose fault it is shows when each is taken alone
                if is_unreachable(error):
                    return [error] * len(reports)
                _log.warning("reports_taken_alone", count=len(reports), error=type(error).__name__)
        pairs = zip(reports, answers, strict=True)
        return [self._take_alone(report) if answer is None else answer for report, answer in pairs]

    def _take_alone(self, report: SignedReport) -> Answer:
        try:
            with coming_from(report.origin):
                (answer,) = self._take_all([report])
        except Exception as error:  # noqa: BLE001 - it is for whoever waits for the answer
            return error
        assert answer is not None
        return answer

    def _take_all(self, reports: Sequence[SignedReport]) -> list[Answer | None]:
        """In one transaction. None for one of several that has to be taken alone; raises when all of them have to."""
        found: list[Heard | Exception | None] = []
        useless: list[Caller] = []
        with self._database.write_as_system() as session:
            for report, caller in zip(reports, self._fleet.authenticate_all(session, reports), strict=True):
                if not isinstance(caller, Caller):
                    found.append(caller)
                    continue
                try:
                    found.append(self._hear(session, caller, report))
                except (ValidationError, FarmError) as error:
                    found.append(error)
                    useless.append(caller)
            self._fleet.forget(session, useless)
            heard = [each for each in found if isinstance(each, Heard)]
            self._take(session, heard)
            unaware = [each.node for each in heard if each.sync.known_generation != each.node.generation]
            desired = build_snapshots(session, self._vault, unaware, self._clock.now())
            answers = iter([self._answer(each.node, each.sync, desired.get(each.node.id)) for each in heard])
            for each in heard:
                self._fleet.grant_lease(each.node, self._settings.fence_seconds)
        return [next(answers) if isinstance(each, Heard) else each for each in found]

    def _hear(self, session: Session, caller: Caller, report: SignedReport) -> Heard | FarmError:
        """Raises ValidationError, or ConflictError for an old message; then nothing has come of it."""
        node, sync = caller.node, SyncRequest.model_validate_json(report.body)
        before = NodeState(node.state)
        if self._fleet.hear(caller, sync):
            return Heard(node, sync, before, report.address)
        with coming_from(report.origin):
            self._fleet.lock(session, node, _SECOND_LIFE)
        after_commit(session, lambda: _log.error("identity_locked", node=node.id, boot=sync.boot_id))
        return locked_error()

    def _take(self, session: Session, heard: Sequence[Heard]) -> None:
        for each in heard:
            node, report = each.node, each.sync.report
            if each.before is not NodeState.ONLINE:
                _log.info("node_state_changed", node=node.id, before=each.before, after=node.state)
                self._intake.announce_return(session, node)
            node.report = report.model_dump(mode="json")
            node.gateway_address = _usable_address(report.gateway_address, node.gateway_address)
            node.seen_from = each.address[:45] or node.seen_from
            if node.protocol != each.sync.protocol:
                self._speak_anew(session, node, each.sync.protocol)
        self._intake.take_observations(session, [(each.node, each.sync) for each in heard])

    def _speak_anew(self, session: Session, node: Node, protocol: str) -> None:
        """Another version of the agent works from the snapshot that its predecessor kept, less what that did not know.

        So it is sent all of it again, and until it has that, nothing new in it can be relied on.
        """
        node.protocol = protocol[:8]
        for placement in assignments_repository.of_node(session, node.id):
            placement.assignment.lease_policy = LeasePolicy.KEEP_RUNNING
        self._fleet.desired_changed(session, node.id)

    def _answer(self, node: Node, request: SyncRequest, desired: DesiredSnapshot | None) -> SyncResponse:
        certificate = self._renew_certificate(node, request.gateway_csr)
        return SyncResponse(
            generation=node.generation,
            desired=desired,
            lease_seconds=self._settings.lease_seconds,
            identity_expires_at=node.identity_expires_at,
            ticket_keys=self._tickets.public_keys(),
            sync_seconds=self._settings.sync_seconds,
            server_time=self._clock.now(),
            continuity=node.continuity_newest or "",
            fence_seconds=self._settings.fence_seconds,
            gateway_certificate=certificate,
        )

    def _renew_certificate(self, node: Node, csr: str) -> str:
        """A new certificate with the node's name for the key of its request; empty when it asks for none."""
        if not csr:
            return ""
        try:
            certificate = self._authority.issue_for_request(csr, [node.id])
        except InvalidInputError as error:
            # The old certificate still works; the terminals' news must not wait for a new one.
            _log.warning("certificate_not_renewed", node=node.id, error=error.detail)
            return ""
        _log.info("certificate_renewed", node=node.id)
        return certificate

    def events(self, header: str, path: str, body: bytes) -> EventAck:
        # Read once it is known who has signed it, and before the transaction that others have to wait for.
        with self._database.read_as_system() as session:
            self._fleet.verify(session, header, "POST", path, body)
        batch = EventBatch.model_validate_json(body)
        with self._database.write_as_system() as session:
            node = self._fleet.authenticate(session, header, "POST", path, body).node
            return self._intake.take_events(session, node, batch.events)

    def take_bundle(self, header: str, path: str, terminal_id: str, request_id: str, body: bytes) -> None:
        """Logs that were asked for. Raises NotFoundError for what nobody asked this node for."""
        with self._database.write_as_system() as session:
            node = self._fleet.authenticate(session, header, "PUT", path, body).node
            placement = assignments_repository.of_terminal(session, terminal_id)
            known = terminals_repository.request_of(session, terminal_id, request_id)
            here = placement is not None and placement.assignment.node_id == node.id
            if not here or known is None or known.kind != RequestKind.COLLECT_LOGS:
                raise NotFoundError("Nobody asked this node for such logs.", code="bundle_not_asked_for")
            if len(body) > BUNDLE_BYTES:
                raise InvalidInputError(f"A bundle may have {BUNDLE_BYTES} bytes.", code="bundle_too_large")
        self._bundles.put(known.id, body)
        _log.info("bundle_taken", node=node.id, terminal=terminal_id, size=len(body))

    def signed_watches(self, path: str, headers: Sequence[str]) -> list[int | FarmError]:
        """The generations of the nodes that sent these headers, or what is wrong with them, in their order."""
        with self._database.read_as_system() as session:
            return self._fleet.generations_for(session, path, headers)

    def generations(self, node_ids: Sequence[str]) -> list[int]:
        """As they are now, in the order of the nodes."""
        with self._database.read_as_system() as session:
            known = repository.generations(session, set(node_ids))
        return [known.get(each, 0) for each in node_ids]

    async def watch(
        self,
        node_id: str,
        known_generation: int,
        authenticated: Callable[[], Awaitable[int]],
        newest: Callable[[str], Awaitable[int]],
    ) -> int:
        """Waits until the generation of the node that this claims to be is above `known_generation`, at most 25 s.

        `authenticated` gives the generation of that node as it is now, or raises FarmError; `newest` gives it later.
        """
        subscription = self._bus.subscribe(node_id)
        try:
            # Read after subscribing, so that a change in between is not missed.
            generation = await authenticated()
            if generation <= known_generation:
                news = await subscription.next(WATCH_SECONDS)
                if news is None or news.changes or news.gap or self._bus.problem:
                    generation = await newest(node_id)
        finally:
            subscription.close()
        return generation


def _check_keys(request: EnrollRequest) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(from_text(request.identity_key))
        X25519PublicKey.from_public_bytes(from_text(request.sealing_key))
    except ValueError as error:
        raise invalid_field("identity_key", "The node's public keys cannot be read.") from error


def _check_address(address: str) -> None:
    """Raises InvalidInputError for what is not `host:port`."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isdecimal() or not 0 < int(port) < 65536 or not _is_host(host) or len(address) > 260:
        raise invalid_field("gateway_address", "The gateway's address must be host:port.")


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", host) is not None
    return True


def _usable_address(reported: str, known: str) -> str:
    """A node may move; its certificate names the node, not the address."""
    try:
        _check_address(reported)
    except InvalidInputError:
        return known
    return reported
