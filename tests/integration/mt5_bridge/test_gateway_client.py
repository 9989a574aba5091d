"""The client on its way through a TLS gateway with a ticket."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mt5_bridge import auth
from mt5_bridge.client import BridgeError, BridgeLost, MetaTrader5
from mt5_bridge.structs import RATES_DTYPE
from tests.bridge_doubles import LOGIN, TOKEN, RunningWorker, StubBackend, eventually, running_worker

NAME = "node-1.farm.internal"


def certificate(folder: Path) -> tuple[Path, str]:
    """A self-signed certificate: the file with key and certificate, and its PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "server.pem"
    file.write_bytes(secret + pem)
    return file, pem.decode()


class Gateway:
    """Accepts one ticket, `good`, and joins the connection to a worker's socket."""

    def __init__(self, worker: RunningWorker, file: Path) -> None:
        self._worker = worker
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(file)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
                sock = self._context.wrap_socket(raw, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: ssl.SSLSocket) -> None:
        if json.loads(auth.read_line(sock))["ticket"] != "good":
            auth.send_line(sock, {"ok": False, "code": "ticket_expired", "message": "the ticket has expired"})
            sock.close()
            return
        inner = socket.socket(socket.AF_UNIX)
        inner.connect(self._worker.address.removeprefix("unix:"))
        answer = auth.greet(inner, {"token": TOKEN, "scope": "read", "epoch": 7, "principal": "user:usr_1"})
        auth.send_line(sock, answer)
        sock.settimeout(None)
        inner.settimeout(None)
        threading.Thread(target=pump, args=(inner, sock), daemon=True).start()
        pump(sock, inner)


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for sock in (source, target):
            sock.close()


@pytest.fixture
def backend() -> StubBackend:
    return StubBackend()


@pytest.fixture
def worker(backend: StubBackend) -> Iterator[RunningWorker]:
    with running_worker(backend) as running:
        yield running


@pytest.fixture
def gateway(worker: RunningWorker, tmp_path: Path) -> Iterator[tuple[str, str]]:
    file, pem = certificate(tmp_path)
    gateway = Gateway(worker, file)
    yield gateway.address, pem
    gateway.close()


def test_calls_and_large_arrays_pass(gateway: tuple[str, str], backend: StubBackend) -> None:
    address, ca = gateway
    with MetaTrader5(address, ticket="good", ca=ca, server_name=NAME) as mt5:
        eventually(lambda: mt5.describe()["connected"])
        assert mt5.account_info().login == LOGIN
        backend.bars = np.ones(300_000, RATES_DTYPE)
        assert np.array_equal(mt5.copy_rates_from_pos("EURUSD", 1, 0, 300_000), backend.bars)
        with pytest.raises(BridgeError, match="read_only_ticket"):
            mt5.order_send(action=1)


def test_a_refused_ticket_is_told_by_its_code(gateway: tuple[str, str]) -> None:
    address, ca = gateway
    with pytest.raises(BridgeError) as refused:
        MetaTrader5(address, ticket="old", ca=ca, server_name=NAME)
    assert (refused.value.code, refused.value.retryable) == ("ticket_expired", False)


def test_a_gateway_that_cannot_prove_its_name_gets_no_ticket(gateway: tuple[str, str], tmp_path: Path) -> None:
    address, ca = gateway
    _, other = certificate(tmp_path)
    for authority, name in ((other, NAME), (ca, "other.farm.internal")):
        with pytest.raises(BridgeLost, match="no secure connection"):
            MetaTrader5(address, ticket="good", ca=authority, server_name=name)
