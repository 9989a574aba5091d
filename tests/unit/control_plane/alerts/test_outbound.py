"""What users' addresses may make the control plane do, with real sockets on the other side."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from control_plane.alerts.outbound import Outbound, UndeliveredError, UnsafeAddressError, networks

HERE = networks("127.0.0.1/32")
HOST = "hook.example.com"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SOON = 0.4
"""Seconds that an exchange may take in tests in which it takes as long as it may."""
SLACK = 3.0


@dataclass
class Receiver:
    """A real server on 127.0.0.1 that says whatever a test has it say to whoever has sent a request."""

    say: Callable[[Receiver, socket.socket], None]
    hears: bool = True
    """Whether it reads the request first."""
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    requests: list[bytes] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def serve(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                try:
                    if self.hears:
                        self.requests.append(_request(connection))
                    self.say(self, connection)
                except OSError:
                    continue  # the other side has gone

    def drip(self, connection: socket.socket, what: bytes) -> None:
        """The same over and over, so that no single wait for the next byte is long."""
        while not self.over.wait(0.02):
            connection.sendall(what)


def _request(connection: socket.socket) -> bytes:
    """With its body of at most a few bytes."""
    found = b""
    while not found.partition(b"\r\n\r\n")[2]:
        more = connection.recv(65536)
        if not more:
            break
        found += more
    return found


Begin = Callable[..., Receiver]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Begins a receiver; all end with the test."""
    begun: list[tuple[Receiver, threading.Thread]] = []

    def make(say: Callable[[Receiver, socket.socket], None] | bytes, *, hears: bool = True) -> Receiver:
        receiver = Receiver(say if callable(say) else lambda _, connection: connection.sendall(say), hears)
        thread = threading.Thread(target=receiver.serve, daemon=True)
        thread.start()
        begun.append((receiver, thread))
        return receiver

    yield make
    for receiver, thread in begun:
        receiver.over.set()
        receiver.listener.shutdown(socket.SHUT_RDWR)
        receiver.listener.close()
        thread.join(10)
        assert not thread.is_alive()


def post(outbound: Outbound, receiver: Receiver, scheme: str = "http") -> int:
    return outbound.post(f"{scheme}://{HOST}:{receiver.port}/path?key=1", {"webhook-id": "1"}, b"{}").status


def to(*addresses: str) -> Callable[[str, int], list[str]]:
    return lambda _host, _port: list(addresses)


PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "168.63.129.16",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
]


def _spellings(address: str) -> list[str]:
    """An address of the fourth version as itself, and inside of addresses of the sixth that lead to it."""
    number = int(ipaddress.IPv4Address(address))
    inside = [0xFFFF << 32, 0, 0xFFFF << 48, 0x64FF9B << 96, 0x64FF9B0001 << 80]
    return [
        address,
        *(str(ipaddress.IPv6Address(prefix | number)) for prefix in inside),
        str(ipaddress.IPv6Address(0x2002 << 112 | number << 80 | 1)),
        str(ipaddress.IPv6Address(0x20010000 << 96 | (number ^ 0xFFFFFFFF))),
    ]


@pytest.mark.parametrize(
    "address",
    [
        *(each for private in PRIVATE for each in _spellings(private)),
        "::",
        "::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "100::1",
    ],
)
def test_no_name_and_no_address_leads_into_a_private_network(address: str) -> None:
    with pytest.raises(UnsafeAddressError):
        Outbound(resolve=to(address)).post(f"https://{HOST}/", {}, b"")
    with pytest.raises(UnsafeAddressError):
        Outbound(resolve=to("1.1.1.1", address)).post(f"https://{HOST}/", {}, b"")
    literal = f"[{address}]" if ":" in address else address
    with pytest.raises(UnsafeAddressError):
        Outbound().check(f"https://{literal}/")


@given(st.ip_addresses(v=4))
def test_an_address_inside_of_another_is_judged_as_itself(address: ipaddress.IPv4Address) -> None:
    def may(url: str) -> bool:
        try:
            Outbound().check(url)
        except UnsafeAddressError:
            return False
        return True

    number = int(address)
    for inside in (0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80):
        assert may(f"https://[{ipaddress.IPv6Address(inside)}]/") == may(f"https://{address}/")
    assert may(f"https://{number}/") == may(f"https://{address}/"), "an old spelling"
    if address.is_private or address.is_multicast:
        assert not may(f"https://{address}/")


@pytest.mark.parametrize("address", ["1.1.1.1", "168.63.129.17", "2606:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_let_through(address: str) -> None:
    Outbound().check(f"https://[{address}]/" if ":" in address else f"https://{address}/")


@pytest.mark.parametrize(
    "url",
    [
        "https://127.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://metadata/",
        "https://metadata.google.internal/",
        "https://printer.local/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com:secret@127.0.0.1/",
        "https://example.com\r\nx: y/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "file:///etc/passwd",
    ],
)
def test_what_looks_like_something_else_is_refused_when_it_is_written_down(url: str) -> None:
    with pytest.raises(UnsafeAddressError):
        Outbound().check(url)


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(begin: Begin) -> None:
    receiver, asked = begin(OK), list[str]()

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    outbound = Outbound(HERE, resolve)
    assert post(outbound, receiver) == 200
    assert asked == [HOST], "a second question could be answered differently"
    assert b"\r\nHost: hook.example.com:" in receiver.requests[0]
    with pytest.raises(UnsafeAddressError):
        post(outbound, receiver)
    assert len(receiver.requests) == 1


def test_a_redirect_is_not_followed(begin: Begin) -> None:
    inner = begin(OK)
    location = f"http://127.0.0.1:{inner.port}/".encode()
    receiver = begin(b"HTTP/1.1 307 Go\r\nlocation: " + location + b"\r\ncontent-length: 0\r\n\r\n")
    with pytest.raises(UndeliveredError, match="307") as refused:
        post(Outbound(HERE, to("127.0.0.1")), receiver)
    assert refused.value.status == 307
    assert not inner.requests


def _silent(receiver: Receiver, _: socket.socket) -> None:
    receiver.over.wait(10)


def _dripping(first: bytes, drop: bytes) -> Callable[[Receiver, socket.socket], None]:
    def say(receiver: Receiver, connection: socket.socket) -> None:
        connection.sendall(first)
        receiver.drip(connection, drop)

    return say


@pytest.mark.parametrize(
    "say",
    [
        _silent,
        _dripping(b"HTTP/1.1 200 ", b"O"),
        _dripping(b"HTTP/1.1 200 OK\r\nx-long: ", b"a"),
        _dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n", b"a"),
        _dripping(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        _dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["says nothing", "status", "headers", "body", "chunks", "for ever about to"],
)
def test_an_exchange_ends_in_time_however_the_answer_drips(
    begin: Begin, say: Callable[[Receiver, socket.socket], None]
) -> None:
    began = time.monotonic()
    with pytest.raises(UndeliveredError, match="in time"):
        post(Outbound(HERE, to("127.0.0.1"), whole_seconds=SOON), begin(say))
    assert SOON <= time.monotonic() - began < SOON + SLACK


def test_a_handshake_that_drips_ends_in_time(begin: Begin) -> None:
    # A record that begins a handshake of TLS and never comes to its end.
    receiver = begin(_dripping(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\x00"), hears=False)
    began = time.monotonic()
    with pytest.raises(UndeliveredError, match="in time"):
        post(Outbound(HERE, to("127.0.0.1"), whole_seconds=SOON), receiver, "https")
    assert time.monotonic() - began < SOON + SLACK


def test_a_name_that_nobody_answers_for_ends_in_time() -> None:
    answered = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        answered.wait(10)
        return ["1.1.1.1"]

    began = time.monotonic()
    with pytest.raises(UndeliveredError, match="in time"):
        Outbound(resolve=resolve, whole_seconds=SOON).post(f"https://{HOST}/", {}, b"")
    assert time.monotonic() - began < SOON + SLACK
    answered.set()


def test_an_answer_without_end_is_read_no_further_than_needed(begin: Begin) -> None:
    sent = list[int]()

    def say(receiver: Receiver, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not receiver.over.is_set():
            sent.append(connection.send(b"a" * 65536))

    receiver = begin(say)
    assert post(Outbound(HERE, to("127.0.0.1"), whole_seconds=30), receiver) == 200
    assert sum(sent) < 16 * 1024 * 1024, "no more than the buffers of both sides hold"


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 202 Accepted\r\nconnection: close\r\n\r\n",
    ],
)
def test_every_answer_of_success_counts_as_delivered(begin: Begin, answer: bytes) -> None:
    receiver = begin(answer)
    assert post(Outbound(HERE, to("127.0.0.1")), receiver) in {200, 202, 204}
    assert receiver.requests[0].startswith(b"POST /path?key=1 HTTP/1.1\r\n")
    assert receiver.requests[0].endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200])
def test_what_is_no_answer_is_no_delivery(begin: Begin, answer: bytes) -> None:
    with pytest.raises(UndeliveredError):
        post(Outbound(HERE, to("127.0.0.1")), begin(answer))


def test_an_address_that_is_not_reached_makes_place_for_the_next(begin: Begin) -> None:
    assert post(Outbound(networks("127.0.0.0/8"), to("127.0.0.9", "127.0.0.1")), begin(OK)) == 200


def test_proxies_of_the_machine_are_not_asked(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, receiver = begin(OK), begin(OK)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    post(Outbound(HERE, to("127.0.0.1")), receiver)
    assert not proxy.requests


def test_without_tls_nothing_is_sent_but_into_allowed_networks(begin: Begin) -> None:
    receiver = begin(OK)
    with pytest.raises(UnsafeAddressError, match="https"):
        post(Outbound(networks("10.0.0.0/8"), to("127.0.0.1")), receiver)
    with pytest.raises(UnsafeAddressError, match="https"):
        post(Outbound(HERE, to("1.1.1.1")), receiver)
    assert not receiver.requests


@pytest.mark.parametrize("name", [HOST, "other.example.com"])
def test_the_certificate_has_to_be_the_hosts(begin: Begin, tmp_path: Path, name: str) -> None:
    certificate, context = _certificate(name, tmp_path)

    def say(receiver: Receiver, connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            receiver.requests.append(_request(secured))
            secured.sendall(OK)

    receiver = begin(say, hears=False)
    outbound = Outbound(HERE, to("127.0.0.1"), ca_pem=certificate)
    if name == HOST:
        assert post(outbound, receiver, "https") == 200
    else:
        with pytest.raises(UndeliveredError, match="SSLCertVerificationError"):
            post(outbound, receiver, "https")
        assert not receiver.requests


def _certificate(name: str, folder: Path) -> tuple[str, ssl.SSLContext]:
    """A certificate that vouches for itself, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both = folder / "server.pem"
    both.write_bytes(pem + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return pem.decode(), context
