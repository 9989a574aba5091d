"""The two files between agent and gateway: how it listens (read once) and what it may route (read on change)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node_agent.protocol.encoding import from_text
from node_agent.protocol.keys import TicketKey

EXIT_USAGE = 2
EXIT_PORT = 4
"""The gateway could not listen on its address."""


class GatewayConfig(BaseModel):
    """All paths absolute; durations in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: str
    """`host:port`."""
    node_id: str
    certificate: Path
    key: Path
    routes: Path
    redeemed: Path
    """SQLite file of used ticket ids."""
    ready: Path
    """Written once the gateway listens."""
    figures: Path | None = None
    """Written every few seconds when there is something new; None: never."""
    hello_timeout: float = 5.0
    worker_timeout: float = 5.0
    max_sessions: int = Field(default=256, ge=1)
    max_sessions_per_terminal: int = Field(default=32, ge=1)
    max_sessions_per_client: int = Field(default=16, ge=1)
    """Of one principal with one terminal."""
    max_views_per_terminal: int = Field(default=3, ge=1)
    """Sessions that show a screen; each costs the terminal's container some memory and processor time."""
    max_views_per_client: int = Field(default=2, ge=1)
    view_idle_seconds: float = 600.0
    """A view in which nothing moves for so long ends."""
    max_session_seconds: float = 12 * 3600.0
    max_handshakes: int = Field(default=128, ge=1)
    """Connections whose ticket is not redeemed yet."""
    max_handshakes_per_address: int = Field(default=48, ge=1)
    reload_interval: float = 0.25


class Ready(BaseModel):
    """Says that the gateway listens, for the agent."""

    pid: int
    address: str


class Route(BaseModel):
    """Where the worker of a terminal listens, and the fencing number from which tickets are honoured."""

    model_config = ConfigDict(frozen=True)

    epoch: int
    worker: Path
    token_file: Path
    access_epoch: int = 0
    """Tickets and sessions of a lower one are not honoured."""
    screen: Path | None = None
    """Where the terminal's screen is shown, if it is."""


class RoutesFile(BaseModel):
    model_config = ConfigDict(frozen=True)

    ticket_keys: list[TicketKey] = []
    terminals: dict[str, Route] = {}
    revoked_tickets: list[str] = []


@dataclass(frozen=True)
class Routes:
    """A routes file with its keys made ready for verifying."""

    keys: Mapping[str, Ed25519PublicKey]
    terminals: Mapping[str, Route]
    revoked: frozenset[str] = frozenset()
    """Ids of tickets that open nothing and whose sessions end."""

    @classmethod
    def parse(cls, raw: bytes) -> Routes:
        """Raises ValueError."""
        try:
            file = RoutesFile.model_validate_json(raw)
        except ValidationError as error:
            raise ValueError("the routes file is broken") from error
        keys = {entry.kid: Ed25519PublicKey.from_public_bytes(from_text(entry.key)) for entry in file.ticket_keys}
        return cls(keys, file.terminals, frozenset(file.revoked_tickets))


NO_ROUTES = Routes({}, {})


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`. Raises ValueError."""
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)
