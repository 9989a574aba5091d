"""An agent that runs in the Windows Python under Wine, beside a control plane's stand-in that runs on this system."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psutil

from mt5_bridge.client import MetaTrader5
from node_agent.protocol import tickets
from node_agent.protocol.tickets import Scope, Ticket
from provisioning.wine.prefix import stop, windows_path
from tests.conformance.windows.wine_machine import WineMachine
from tests.integration.node_agent.agent_node import TIMING, AgentNode, terminal_id
from tests.integration.node_agent.control_plane_stand_in import NODE_ID, ControlPlaneStandIn, wait_until

SETTINGS = {"own_users": False, "cpu_percent": None}
"""Wine has no users of its own and no CPU rate of a job."""
GATEWAY_PORT_FILE = "gateway/ready.json"


class WindowsAgentNode(AgentNode):
    """Enrolled at construction. Its database is Windows' to read while it runs, so only the control plane is asked."""

    def __init__(self, plane: ControlPlaneStandIn, machine: WineMachine, module: str = "node_agent.cli") -> None:
        self.plane = plane
        self._machine = machine
        self._program = module
        self.home = Path(tempfile.mkdtemp(prefix="m5", dir="/tmp"))
        self.data = self.home / "data"
        self.log = self.home / "agent.log"
        self._agent: subprocess.Popen[bytes] | None = None
        enrolment = self.home / "enrolment.json"
        enrolment.write_text(json.dumps({"token": "once", "url": plane.url, "ca_pem": plane.authority.pem}))
        with machine.start(
            "-m", "node_agent.cli", "enroll", "--data", windows_path(self.data), "--enrolment", windows_path(enrolment),
            "--name", "windows", "--gateway-listen", "127.0.0.1:0", "--slots", "4",
            "--windows-process", json.dumps(SETTINGS),
            "--timing", json.dumps(TIMING),
        ) as enrolling:  # fmt: skip
            said, _ = enrolling.communicate(timeout=180)
        assert enrolling.returncode == 0, said

    def start(self) -> None:
        """Run the agent; what it says goes to its log."""
        self._agent = self._machine.start("-m", self._program, "run", "--data", windows_path(self.data))
        threading.Thread(target=self._keep_log, args=(self._agent,), daemon=True).start()

    def _keep_log(self, agent: subprocess.Popen[bytes]) -> None:
        assert agent.stdout is not None
        with self.log.open("ab", buffering=0) as log:
            for line in agent.stdout:
                log.write(line)

    def commands_of(self, terminal: str) -> list[str]:
        """Command lines of this terminal's living processes; every process of Wine is one of this system's, too."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            line = " ".join(process.info["cmdline"] or [])
            if terminal in line and self.home.name in line and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(line)
        return found

    def kill_agent(self) -> None:
        """As `kill -9` does it, and the agent alone."""
        assert self._agent is not None
        self._agent.kill()
        self._agent.wait(10)

    def open_session(self, number: int) -> MetaTrader5:
        """With a ticket, at the node's gateway."""
        ready = self.data / GATEWAY_PORT_FILE
        wait_until(ready.exists, 60, "the gateway listens")
        address = str(json.loads(ready.read_text())["address"])
        claims = Ticket(
            ticket_id=secrets.token_hex(8),
            node_id=NODE_ID,
            terminal_id=terminal_id(number),
            epoch=1,
            scope=Scope.TRADE,
            principal="user:usr_1",
        )
        ticket = tickets.issue(self.plane.ticket_key, "k1", claims, time.time())
        return MetaTrader5(address, ticket=ticket, ca=self.plane.authority.pem, server_name=NODE_ID)

    def clean_up(self) -> None:
        """End everything that runs in the prefix."""
        stop(self._machine.prefix)
        shutil.rmtree(self.home, ignore_errors=True)
