"""How long until something that was killed is back and works again, with the farm's own terminal, bridge and gateway.

Ready means what the control plane hears: the phase `ready` of a new process, or a session through the new gateway.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mt5_bridge.client import BridgeError, MetaTrader5
from mt5_bridge.simulated.admin import BrokerAdmin
from node_agent.config import Timing
from node_agent.gateway.configuration import Ready
from node_agent.protocol import tickets
from node_agent.protocol.messages import ObservedTerminal
from node_agent.protocol.tickets import Scope, Ticket
from node_agent.restarts import RestartPolicy
from tests.integration.node_agent.agent_node import AgentNode, terminal_id
from tests.integration.node_agent.control_plane_stand_in import NODE_ID, ControlPlaneStandIn, wait_until

PASSWORD = "bench-password-1"
SERVER = "MT5Farm-Demo"
PATIENCE = 60.0
SETTLED = 1.0
"""The product restarts a process at once that was up for 30 s, and backs off otherwise; here nobody waits for 30 s."""


def measure(times: int) -> dict[str, list[float]]:
    """Seconds of each recovery, by what was killed."""
    with _broker() as (address, admin), _node() as node:
        login = admin.create_account(password=PASSWORD)
        node.plane.want(node.desired(1, PASSWORD, login=login, server=SERVER, server_address=address))
        node.start()
        node.wait_phase(1, "ready", PATIENCE)
        wait_until(lambda: _can_open(node), PATIENCE, "the gateway lets in")
        kinds: dict[str, Callable[[AgentNode], float]] = {
            "bridge worker": lambda each: _kill(each, "worker"),
            "simulated terminal": lambda each: _kill(each, "terminal"),
            "gateway": _kill_gateway,
            "agent": _kill_agent,
        }
        found: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(times):
            for name, kill in kinds.items():
                time.sleep(SETTLED + 0.5)
                found[name].append(kill(node))
        return found


@contextmanager
def _broker() -> Iterator[tuple[str, BrokerAdmin]]:
    folder = Path(tempfile.mkdtemp(prefix="m5", dir="/tmp"))
    command = [sys.executable, "-m", "mt5_bridge.simulated.server", "--data", str(folder), "--listen", "127.0.0.1:0"]
    with subprocess.Popen([*command, "--speed", "600", "--seed", "7"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        try:
            yield address, BrokerAdmin(address, (folder / "admin.token").read_text().strip())
        finally:
            process.terminate()
            process.wait(10)
            shutil.rmtree(folder)


@contextmanager
def _node() -> Iterator[AgentNode]:
    at_once = RestartPolicy(settled=SETTLED, base=5.0, cap=300.0, window=1.0, limit=5)
    timing = Timing(
        terminal_restart=at_once, worker_restart=at_once, bot_restart=at_once, gateway_restart=at_once
    ).model_dump()
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as folder:
        plane = ControlPlaneStandIn(Path(folder))
        plane.sync_seconds = 10.0
        node = AgentNode(plane, timing, "node_agent.cli")
        try:
            yield node
        finally:
            node.clean_up()
            plane.close()


def _kill(node: AgentNode, role: str) -> float:
    before = node.processes_of(1)[role]
    begun = time.monotonic()
    os.kill(before, signal.SIGKILL)

    def back() -> bool:
        seen = node.observed(1)
        return seen is not None and seen.phase == "ready" and _pid(seen, role) not in {None, before}

    wait_until(back, PATIENCE, f"the {role} is back")
    return time.monotonic() - begun


def _pid(seen: ObservedTerminal, role: str) -> int | None:
    return seen.worker_pid if role == "worker" else seen.terminal_pid


def _kill_gateway(node: AgentNode) -> float:
    before = node.processes()["gateway", ""]
    begun = time.monotonic()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: _can_open(node), PATIENCE, "the gateway lets in")
    return time.monotonic() - begun


def _can_open(node: AgentNode) -> bool:
    claims = Ticket(os.urandom(8).hex(), NODE_ID, terminal_id(1), 1, Scope.READ, "user:bench")
    text = tickets.issue(node.plane.ticket_key, "k1", claims, time.time())
    with suppress(OSError, ValueError, BridgeError):
        address = Ready.model_validate_json(node.layout.gateway_files.ready.read_bytes()).address
        with MetaTrader5(address, ticket=text, ca=node.plane.authority.pem, server_name=NODE_ID) as terminal:
            return terminal.account_info() is not None
    return False


def _kill_agent(node: AgentNode) -> float:
    """From the kill to the first answered sync of the next agent, in which the terminal is ready as before."""
    begun, known = time.monotonic(), len(node.plane.seen.syncs)
    before = node.processes_of(1)
    node.end(signal.SIGKILL)
    node.start()

    def attached() -> bool:
        seen = node.observed(1)
        return len(node.plane.seen.syncs) > known and seen is not None and seen.phase == "ready"

    wait_until(attached, PATIENCE, "the next agent has attached")
    took = time.monotonic() - begun
    assert node.processes_of(1) == before, "what ran was touched"
    return took
