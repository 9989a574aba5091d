"""The gateway of the order test: its certificate, keys and routes, and clients that enter through it with a ticket."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mt5_bridge.client import BridgeLost, MetaTrader5
from node_agent.files import write_atomically
from node_agent.gateway.configuration import GatewayConfig, Ready, Route, RoutesFile
from node_agent.protocol import tickets
from node_agent.protocol.encoding import to_text
from node_agent.protocol.messages import TicketKey
from node_agent.protocol.tickets import Scope, Ticket
from tests.integration.node_agent.control_plane_stand_in import Authority

NODE_ID: Final = "nod_0123456789abcdef"
KEY_ID: Final = "k1"
EPOCH: Final = 1


class GatewayDoor:
    """Files of one gateway with one terminal behind it. The process is started by the line, from `config`."""

    def __init__(self, folder: Path, terminal_id: str, worker: Path, token_file: Path) -> None:
        self._terminal_id = terminal_id
        self._authority = Authority()
        self._key = Ed25519PrivateKey.generate()
        self._ready = folder / "gateway.ready"
        self.config = folder / "gateway.json"
        self._write(folder, Route(epoch=EPOCH, worker=worker, token_file=token_file))

    def address(self) -> str:
        """Where the gateway that was started last listens. Raises OSError before there is one."""
        return Ready.model_validate_json(self._ready.read_bytes()).address

    def client(self, address: str) -> MetaTrader5:
        """A session that may trade, opened at `address` with a fresh ticket. Raises BridgeError, BridgeLost."""
        claims = Ticket(secrets.token_hex(8), NODE_ID, self._terminal_id, EPOCH, Scope.TRADE, "user:usr_1")
        ticket = tickets.issue(self._key, KEY_ID, claims, time.time())
        try:
            return MetaTrader5(address, ticket=ticket, ca=self._authority.pem, server_name=NODE_ID)
        except OSError as error:
            raise BridgeLost(str(error)) from error

    def _write(self, folder: Path, route: Route) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_atomically(folder / "gateway.key", secret)
        certificate = folder / "gateway.pem"
        certificate.write_text(self._authority.sign(key.public_key(), [NODE_ID]))
        public = self._key.public_key().public_bytes_raw()
        routes = RoutesFile(
            ticket_keys=[TicketKey(kid=KEY_ID, key=to_text(public))], terminals={self._terminal_id: route}
        )
        write_atomically(folder / "routes.json", routes.model_dump_json().encode())
        config = GatewayConfig(
            listen="127.0.0.1:0",
            node_id=NODE_ID,
            certificate=certificate,
            key=folder / "gateway.key",
            routes=folder / "routes.json",
            redeemed=folder / "redeemed.sqlite3",
            ready=self._ready,
        )
        self.config.write_text(json.dumps(config.model_dump(mode="json")))
