"""The bridge worker beside each terminal: its files and its command line."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from node_agent.files import private_folder, write_atomically
from node_agent.layout import TerminalLayout
from node_agent.plan import worker_fingerprint
from node_agent.process import Handle, Role, Slot
from node_agent.protocol.messages import DesiredTerminal
from node_agent.roster import Roster


@dataclass(frozen=True)
class Modules:
    """What `python -m` runs for each role; tests put stand-ins here."""

    terminal: str = "mt5_bridge.simulated.terminal"
    worker: str = "mt5_bridge.worker"
    bot: str = "mt5_bridge.strategies.runner"
    gateway: str = "node_agent.gateway"


def ensure_token(layout: TerminalLayout) -> None:
    """The local secret lives as long as the terminal's folder, so that running bots keep theirs. Raises OSError."""
    if not layout.token.exists():
        write_atomically(layout.token, secrets.token_urlsafe(32).encode())


def write_worker_config(
    layout: TerminalLayout, desired: DesiredTerminal, backend: str, options: Mapping[str, str]
) -> None:
    """Raises OSError."""
    config = {
        "terminal_id": desired.terminal_id,
        "epoch": desired.epoch,
        "listen": f"unix:{layout.worker_socket}",
        "backend": backend,
        "backend_options": dict(options),
        "login": desired.login,
        "server": desired.server,
        "journal": str(layout.journal),
        "token_file": str(layout.token),
        "guard": desired.guard.model_dump(),
        "log_file": str(layout.logs / "bridge.log"),
        "lease_file": str(layout.lease),
    }
    private_folder(layout.root)
    private_folder(layout.logs)
    ensure_token(layout)
    write_atomically(layout.worker_config, json.dumps(config).encode())


def worker_command(layout: TerminalLayout, module: str) -> list[str]:
    return [sys.executable, "-m", module, "--config", str(layout.worker_config)]


def start_worker(roster: Roster, layout: TerminalLayout, desired: DesiredTerminal, module: str) -> Handle:
    """Start it with the configuration on disk. Raises OSError, StorageError."""
    layout.worker_socket.unlink(missing_ok=True)
    return roster.start(
        Slot(Role.WORKER, desired.terminal_id),
        worker_command(layout, module),
        layout.logs / "worker.log",
        worker_fingerprint(desired),
    )
