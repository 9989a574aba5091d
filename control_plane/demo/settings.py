"""What a demo run is asked to do, and the errors that end one before it starts."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

MINIMUM_FREE_BYTES = 200 * 1024 * 1024
SERVER_NAME = "MT5Farm-Demo"
FIRST_LOGIN = 500001
BOT_ACCOUNTS = 3
SPARE_ACCOUNTS = 2


class DemoError(Exception):
    """The demo cannot start or go on; the text says why and what to do."""


@dataclass(frozen=True)
class DemoSettings:
    """Where the demo lives, which ports it takes and what market it shows."""

    data: Path
    port: int
    """Portal; the three ports above it serve the agent API, the node gateway and the broker."""
    history: Path | None
    symbols: tuple[str, ...]
    speed: float
    """Market seconds per wall second."""
    seed: int
    seconds: float | None
    """How long to run once the farm is ready; None until Ctrl-C."""
    as_json: bool

    @property
    def agent_port(self) -> int:
        return self.port + 1

    @property
    def gateway_address(self) -> str:
        return f"127.0.0.1:{self.port + 2}"

    @property
    def broker_address(self) -> str:
        return f"127.0.0.1:{self.port + 3}"

    @property
    def portal_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def control_data(self) -> Path:
        return self.data / "control"

    @property
    def node_data(self) -> Path:
        return self.data / "node"

    @property
    def broker_data(self) -> Path:
        return self.data / "broker"

    @property
    def logs(self) -> Path:
        return self.data / "logs"


class BrokerLogin(BaseModel):
    """An account at the simulated broker."""

    login: int
    password: str


class DemoSecrets(BaseModel):
    """The sign-in and broker logins made up at the first start; kept in a file that only its owner can read."""

    email: str
    password: str
    bot_accounts: list[BrokerLogin]
    spare_accounts: list[BrokerLogin]


def load_secrets(data: Path) -> DemoSecrets:
    """Read the secrets of an earlier start, or make them."""
    path = data / "demo-secrets.json"
    if path.exists():
        try:
            return DemoSecrets.model_validate_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DemoError(f"{path} is damaged. Remove {data} to start afresh.") from error
    logins = [
        BrokerLogin(login=FIRST_LOGIN + index, password=secrets.token_urlsafe(9))
        for index in range(BOT_ACCOUNTS + SPARE_ACCOUNTS)
    ]
    made = DemoSecrets(
        email="demo@mt5farm.example",
        password=secrets.token_urlsafe(12),
        bot_accounts=logins[:BOT_ACCOUNTS],
        spare_accounts=logins[BOT_ACCOUNTS:],
    )
    write_private(path, made.model_dump_json(indent=2))
    return made


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    partial = path.with_suffix(path.suffix + ".part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)


def move_node(settings: DemoSettings) -> None:
    """Tell an enrolled node the addresses of this start: its port may be another one than last time."""
    path = settings.node_data / "agent.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DemoError(f"{path} is damaged. Remove {settings.data} to start afresh.") from error
    moved = config | {
        "control_plane_url": f"https://127.0.0.1:{settings.agent_port}",
        "gateway_listen": settings.gateway_address,
        "gateway_address": settings.gateway_address,
    }
    if moved != config:
        write_private(path, json.dumps(moved, indent=2))


def check_machine(settings: DemoSettings) -> None:
    """Find out before anything starts what would make the start fail. Raises DemoError."""
    if not settings.symbols:
        raise DemoError("The market needs at least one symbol, for example --symbols EURUSD.")
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise DemoError(
            f"Cannot make the data folder {settings.data}: {error.strerror}. Choose another: --data DIR."
        ) from error
    free = shutil.disk_usage(settings.data).free
    if free < MINIMUM_FREE_BYTES:
        raise DemoError(
            f"The disk with {settings.data} has {free // 2**20} MB free; the demo needs "
            f"{MINIMUM_FREE_BYTES // 2**20} MB. Make room, or choose another disk: --data DIR."
        )
    for offset, use in enumerate(("the portal", "the agent API", "the node gateway", "the broker")):
        if port_taken(settings.port + offset):
            raise DemoError(
                f"Port {settings.port + offset} (for {use}) is taken by another program. "
                f"Stop that program, or choose four free ports in a row: --port {settings.port + 10}."
            )


def port_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def read_json_line(path: Path, key: str) -> dict[str, object] | None:
    """First line of `path` that is a JSON object with `key`; None while there is none."""
    if not path.exists():
        return None
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("{"):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and key in record:
                return record
    return None
