"""The bridge worker beside each terminal: its files and its command line."""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import dataclass

from node_agent.files import private_folder, write_atomically
from node_agent.layout import TerminalLayout
from node_agent.process import Handle, Role, Slot
from node_agent.protocol.messages import DesiredTerminal
from node_agent.roster import Roster
from node_agent.runtimes.base import WorkerSeat


@dataclass(frozen=True)
class Modules:
    """What `python -m` runs for each role; tests put stand-ins here."""

    terminal: str = "mt5_bridge.simulated.terminal"
    worker: str = "mt5_bridge.worker"
    bot: str = "mt5_bridge.strategies.runner"
    gateway: str = "node_agent.gateway"
    watchdog: str = "node_agent.watchdog"


def ensure_token(layout: TerminalLayout) -> None:
    """The local secret lives as long as the terminal's folder, so that running bots keep theirs. Raises OSError."""
    if not layout.token.exists():
        write_atomically(layout.token, secrets.token_urlsafe(32).encode())


def write_worker_config(layout: TerminalLayout, desired: DesiredTerminal, seat: WorkerSeat) -> None:
    """Raises OSError."""
    config = {
        "terminal_id": desired.terminal_id,
        "epoch": desired.epoch,
        "listen": f"unix:{seat.inside(layout.worker_socket)}",
        "backend": seat.backend,
        "backend_options": dict(seat.options),
        "login": desired.login,
        "server": desired.server,
        "journal": seat.inside(layout.journal),
        "token_file": seat.inside(layout.token),
        "guard": desired.guard.model_dump(),
        "guard_memory": None if desired.guard_memory is None else desired.guard_memory.model_dump(),
        "log_file": seat.inside(layout.logs / "bridge.log"),
        "lease_file": seat.inside(layout.lease),
    }
    for folder in (layout.root, layout.logs):
        # One that is there may have been opened to the terminal's user, whose programs are running in it.
        if not folder.is_dir():
            private_folder(folder)
    ensure_token(layout)
    write_atomically(layout.worker_config, json.dumps(config).encode())
    for path in (layout.token, layout.worker_config, layout.lease):
        # The lease is there for terminals that fence themselves, and is written in place from then on.
        if path.exists():
            seat.share(path)


def worker_command(layout: TerminalLayout, module: str) -> list[str]:
    return [sys.executable, "-m", module, "--config", str(layout.worker_config)]


def start_worker(roster: Roster, layout: TerminalLayout, terminal_id: str, fingerprint: str, module: str) -> Handle:
    """Start it as a plain process, with the configuration on disk. Raises OSError, StorageError."""
    layout.worker_socket.unlink(missing_ok=True)
    return roster.start(
        Slot(Role.WORKER, terminal_id),
        worker_command(layout, module),
        layout.logs / "worker.log",
        fingerprint,
    )
