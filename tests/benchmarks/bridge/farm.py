"""The processes of a benchmark: servers of each way, and a gateway with a ticket desk of its own."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from mt5_bridge.client import BridgeError, MetaTrader5
from node_agent.gateway.configuration import GatewayConfig, Ready, Route, RoutesFile
from node_agent.protocol import tickets
from node_agent.protocol.encoding import to_text
from node_agent.protocol.messages import TicketKey
from tests.benchmarks.bridge.ways import Bridge

NODE = "nod_0123456789abcdef"
TERMINAL = "ter_0123456789abcdef"
_ENCODING = serialization.Encoding


class Farm:
    """Starts processes and ends them all."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="m5", dir="/tmp", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self.children: dict[str, subprocess.Popen[str]] = {}
        self.addresses: dict[str, str] = {}
        self._ticket_key = Ed25519PrivateKey.generate()
        self._pems: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children.values():
            child.kill()
        for child in self.children.values():
            child.wait(10)
            if child.stdout is not None:
                child.stdout.close()
        self._folder.cleanup()

    def serve(self, way: str) -> str:
        """Start a way's server; its address."""
        folder = self.folder / way
        folder.mkdir()
        command = [sys.executable, "-m", "tests.benchmarks.bridge.servers", way, str(folder)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.children[way] = child
        assert child.stdout is not None
        self.addresses[way] = child.stdout.readline().strip()
        if not self.addresses[way]:
            raise RuntimeError(f"the server of {way} did not start")
        if way.startswith("worker"):
            self._wait(folder / "w")
        return self.addresses[way]

    def end(self, way: str) -> None:
        child = self.children.pop(way)
        child.kill()
        child.wait(10)
        if child.stdout is not None:
            child.stdout.close()

    def open_gateway(self, way: str) -> str:
        """Start the node's real gateway before the worker of `way`; its address."""
        folder = self.folder / f"gateway-{way}"
        folder.mkdir()
        self._pems[way] = self._certify(folder)
        key = self._ticket_key.public_key().public_bytes(_ENCODING.Raw, serialization.PublicFormat.Raw)
        routes = RoutesFile(
            ticket_keys=[TicketKey(kid="k1", key=to_text(key))],
            terminals={
                TERMINAL: Route(epoch=1, worker=self.folder / way / "w", token_file=self.folder / way / "token")
            },
        )
        (folder / "routes").write_text(routes.model_dump_json())
        config = GatewayConfig(
            listen="127.0.0.1:0",
            node_id=NODE,
            certificate=folder / "certificate",
            key=folder / "key",
            routes=folder / "routes",
            redeemed=folder / "redeemed",
            ready=folder / "ready",
        )
        (folder / "config").write_text(config.model_dump_json())
        command = [sys.executable, "-m", "node_agent.gateway", "--config", str(folder / "config")]
        self.children[f"gateway-{way}"] = subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True)
        self._wait(folder / "ready")
        address = Ready.model_validate_json((folder / "ready").read_bytes()).address
        self.addresses[f"gateway-{way}"] = address
        return address

    def ticket(self, way: str, scope: tickets.Scope = tickets.Scope.TRADE) -> dict[str, Any]:
        """What a client needs to reach the worker of `way` through its gateway, once."""
        claims = tickets.Ticket(secrets.token_hex(8), NODE, TERMINAL, 1, scope, "user:bench")
        ticket = tickets.issue(self._ticket_key, "k1", claims, time.time())
        return {
            "address": self.addresses[f"gateway-{way}"],
            "ticket": ticket,
            "ca": self._pems[way],
            "server_name": NODE,
        }

    def through_gateway(self, way: str) -> Bridge:
        """A client with a new ticket."""
        place = self.ticket(way)
        return Bridge(MetaTrader5(place.pop("address"), **place))

    def pin(self, ways: Iterable[str], cpus: set[int]) -> None:
        """Keep the processes of some ways on some processors."""
        for way in ways:
            for task in Path(f"/proc/{self.children[way].pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), cpus)

    def resident(self, way: str) -> float:
        """Megabytes in memory."""
        return int(Path(f"/proc/{self.children[way].pid}/statm").read_text().split()[1]) * 4096 / 1e6

    @staticmethod
    def _wait(path: Path) -> None:
        deadline = time.monotonic() + 20
        while not path.exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{path.name} did not come")
            time.sleep(0.01)

    def _certify(self, folder: Path) -> str:
        key = ec.generate_private_key(ec.SECP256R1())
        name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NODE)]), datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(NODE)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        secret = key.private_bytes(_ENCODING.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        pem = made.public_bytes(_ENCODING.PEM).decode()
        (folder / "key").write_bytes(secret)
        (folder / "certificate").write_text(pem)
        return pem


def connected(bridge: Bridge) -> Bridge:
    """Once the worker has linked to its terminal."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if bridge.terminal.describe()["connected"]:
                return bridge
        except BridgeError:
            pass
        time.sleep(0.02)
    raise RuntimeError("the worker found no terminal")
