"""The agent protocol's other side for tests: HTTPS with a CA of its own, a snapshot to set, and events to read."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import json
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from node_agent.protocol.encoding import from_text, to_text
from node_agent.protocol.identity import verify_request
from node_agent.protocol.keys import TicketKey
from node_agent.protocol.messages import (
    BUNDLES_PATH,
    CODE_PATH,
    ENROLL_PATH,
    EVENTS_PATH,
    SYNC_PATH,
    TEMPLATES_PATH,
    WATCH_PATH,
    DesiredSnapshot,
    DesiredTerminal,
    EnrollRequest,
    EnrollResponse,
    Event,
    EventAck,
    EventBatch,
    SyncRequest,
    SyncResponse,
    WatchResponse,
)

NODE_ID = "nod_0123456789abcdef"


class Authority:
    """A CA that lives as long as the test."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test farm")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        builder = self._builder(self.name, self.key.public_key()).add_extension(constraints, critical=True)
        builder = builder.add_extension(usage, critical=True).add_extension(identifier, critical=False)
        self.certificate = builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def sign(self, public_key: Any, names: list[str]) -> str:
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        builder = self._builder(subject, public_key)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def _builder(self, subject: x509.Name, public_key: Any) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
        )


@dataclass
class Seen:
    """What the agent has said."""

    enrolment: EnrollRequest | None = None
    syncs: list[SyncRequest] = field(default_factory=list)
    events: dict[str, Event] = field(default_factory=dict)
    repeated_events: int = 0


class ControlPlaneStandIn:
    """Answers on a thread until `close`."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority()
        self.ticket_key = Ed25519PrivateKey.generate()
        self.seen = Seen()
        self.generation = 1
        self.terminals: list[DesiredTerminal] = []
        self.node_known = True
        self.events_work = True
        self.syncs_work = True
        self.sync_seconds = 1.0
        self.fence_seconds: float | None = None
        self.code: dict[str, bytes] = {}
        """Packed code of bots by its digest."""
        self.bundles: dict[tuple[str, str], bytes] = {}
        self.revoked: list[str] = []
        self.shown: list[str] = []
        """Continuity tokens, as the agent showed them."""
        self.templates: dict[str, bytes] = {}
        self.template_requests: list[str] = []
        """The range that each request for a template asked for."""
        self.most_template_bytes = 1 << 30
        """Each answer breaks off after so many."""
        self.watch_seconds = 2.0
        """For so long an agent waits for news."""
        self._changed = threading.Condition()
        self._server = self._listen(folder)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def _listen(self, folder: Path) -> http.server.ThreadingHTTPServer:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, key_file = folder / "control.pem", folder / "control.key"
        certificate.write_text(self.authority.sign(key.public_key(), ["localhost"]))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key_file)
        handler = type("Handler", (_Handler,), {"plane": self})
        server = _QuietServer(("127.0.0.1", 0), handler)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        return server

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, terminal: DesiredTerminal) -> None:
        """Set one terminal of the snapshot and leave the others."""
        self.want(*(each for each in self.terminals if each.terminal_id != terminal.terminal_id), terminal)

    def drop(self, terminal_id: str) -> None:
        """Take one terminal out of the snapshot."""
        self.want(*(each for each in self.terminals if each.terminal_id != terminal_id))

    def want(self, *terminals: DesiredTerminal) -> None:
        """Set the snapshot, as a new generation."""
        with self._changed:
            self.terminals = list(terminals)
            self.generation += 1
            self._changed.notify_all()

    def answer(self, path: str, query: dict[str, list[str]], body: bytes, header: str) -> Any:
        if path == ENROLL_PATH:
            return self._enroll(EnrollRequest.model_validate_json(body))
        assert self.seen.enrolment is not None
        key = Ed25519PublicKey.from_public_bytes(from_text(self.seen.enrolment.identity_key))
        method = "GET" if path == WATCH_PATH else "POST"
        assert verify_request(key, header, method, path, body).node_id == NODE_ID
        if path == SYNC_PATH:
            return self._sync(SyncRequest.model_validate_json(body))
        if path == EVENTS_PATH:
            return self._take(EventBatch.model_validate_json(body))
        return self._watch(int(query["generation"][0]))

    def revoke(self, ticket_id: str) -> None:
        """Sessions that were opened with the ticket should end."""
        self.revoked.append(ticket_id)
        self.want(*self.terminals)

    def is_away(self, path: str) -> bool:
        """Whether the exchange fails for now."""
        works = self.events_work if path == EVENTS_PATH else self.syncs_work
        return path in {EVENTS_PATH, SYNC_PATH, WATCH_PATH} and not works

    def template(self, path: str, header: str, ranges: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and bytes."""
        assert self.seen.enrolment is not None
        key = Ed25519PublicKey.from_public_bytes(from_text(self.seen.enrolment.identity_key))
        assert verify_request(key, header, "GET", path, b"").node_id == NODE_ID
        self.template_requests.append(ranges)
        content = self.templates[path.rpartition("/")[2]]
        first = int(ranges.removeprefix("bytes=").removesuffix("-") or 0) if ranges else 0
        headers = {"Content-Length": str(len(content) - first)}
        if ranges:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        return 206 if ranges else 200, headers, content[first : first + self.most_template_bytes]

    def _enroll(self, request: EnrollRequest) -> EnrollResponse:
        self.seen.enrolment = request
        csr = x509.load_pem_x509_csr(request.gateway_csr.encode())
        return EnrollResponse(
            node_id=NODE_ID,
            identity_expires_at=datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1),
            ca_pem=self.authority.pem,
            gateway_certificate=self.authority.sign(csr.public_key(), [NODE_ID]),
            ticket_keys=self.ticket_keys,
            sync_seconds=1.0,
        )

    @property
    def ticket_keys(self) -> list[TicketKey]:
        return [TicketKey(kid="k1", key=to_text(self.ticket_key.public_key().public_bytes_raw()))]

    def _sync(self, request: SyncRequest) -> SyncResponse:
        with self._changed:
            self.seen.syncs.append(request)
            self.shown.append(request.continuity)
            known = request.known_generation == self.generation
            now = datetime.datetime.now(datetime.UTC)
            snapshot = DesiredSnapshot(
                generation=self.generation, terminals=self.terminals, revoked_tickets=self.revoked
            )
            return SyncResponse(
                generation=self.generation,
                desired=None if known else snapshot,
                lease_seconds=45,
                identity_expires_at=now + datetime.timedelta(days=1),
                ticket_keys=self.ticket_keys,
                sync_seconds=self.sync_seconds,
                server_time=now,
                fence_seconds=self.fence_seconds,
                continuity=f"token-{len(self.seen.syncs)}",
            )

    def take_bundle(self, path: str, body: bytes, header: str) -> None:
        """Keep collected logs by their request id."""
        assert self.seen.enrolment is not None
        key = Ed25519PublicKey.from_public_bytes(from_text(self.seen.enrolment.identity_key))
        assert verify_request(key, header, "PUT", path, body).node_id == NODE_ID
        folder, terminal_id, request_id = path.rsplit("/", 2)
        assert folder == BUNDLES_PATH
        self.bundles[terminal_id, request_id] = body

    def _take(self, batch: EventBatch) -> EventAck:
        for event in batch.events:
            self.seen.repeated_events += event.event_id in self.seen.events
            self.seen.events[event.event_id] = event
        return EventAck(accepted=[event.event_id for event in batch.events])

    def _watch(self, generation: int) -> WatchResponse:
        with self._changed:
            self._changed.wait_for(lambda: self.generation > generation, timeout=self.watch_seconds)
            return WatchResponse(generation=self.generation)


class _QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """An agent that is killed leaves broken connections behind."""


class _Handler(http.server.BaseHTTPRequestHandler):
    plane: ClassVar[ControlPlaneStandIn]
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        """Collected logs."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.plane.take_bundle(urlsplit(self.path).path, body, self.headers.get("Authorization", ""))
        self._send(204, b"")

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if url.path.startswith(TEMPLATES_PATH):
            self._send_template(url.path)
        elif url.path.startswith(CODE_PATH):
            self._send(200, self.plane.code[url.path.removeprefix(f"{CODE_PATH}/")])
        elif not self.plane.node_known and url.path != ENROLL_PATH:
            self._send(401, json.dumps({"code": "node_unknown", "detail": "no such node"}).encode())
        elif self.plane.is_away(url.path):
            self._send(503, json.dumps({"code": "unavailable", "detail": "try later"}).encode())
        else:
            answer = self.plane.answer(url.path, parse_qs(url.query), body, self.headers.get("Authorization", ""))
            self._send(200, answer.model_dump_json().encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_template(self, path: str) -> None:
        signature, ranges = self.headers.get("Authorization", ""), self.headers.get("Range", "")
        status, headers, content = self.plane.template(path, signature, ranges)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = len(content) != int(headers["Content-Length"])

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def wait_until(condition: Any, seconds: float, what: str) -> Any:
    """The first true value of `condition()`; fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.03)
    raise AssertionError(f"not within {seconds} s: {what}")
