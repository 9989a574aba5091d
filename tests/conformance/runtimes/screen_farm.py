"""A whole farm with one real container whose screen can be looked at: control plane, agent and gateway as processes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import docker
import httpx
import pyotp
from websockets.sync.client import ClientConnection, connect

from tests.conformance.runtimes.drivers import container_settings
from tests.demo_farm import ROOT, wait_for
from tests.integration.control_plane.test_serving import add_user, run
from tests.ports import free_ports

SERVER = "Stub-Live"
_TIMING = {"tick": 0.1, "probe": 0.3, "sync_floor": 0.1, "stop_grace": 3.0}


class ScreenFarm:
    """The account of one trader, whose terminal is a stand-in for the real one."""

    def __init__(self, image: str, program: Path) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="m5", dir="/tmp"))
        self._image, self._program = image, program
        self._data, self._node = self.home / "farm", self.home / "node"
        self._first_port = free_ports(3)
        self.url = f"http://127.0.0.1:{self._first_port}"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Returns once the screen can be looked at."""
        trader = add_user(self._data, "trader@example.com")
        self._other = add_user(self._data, "other@example.com")
        self._import_template()
        ports = ("--port", str(self._first_port), "--agent-port", str(self._first_port + 1))
        self._run("control_plane.cli", "serve", self._data, *ports, "--sync-seconds", "0.5")
        self._come_in(trader)
        self._enrol()
        self._run("node_agent.cli", "run", self._node)
        body = {"label": "Main", "login": 1001, "password": "right", "server": SERVER}
        connected = self.http.post("/accounts", json=body)
        assert connected.status_code == 201, connected.text
        self.account_id: str = connected.json()["id"]
        wait_for(lambda: bool(self.terminal()["screen"]["available"]), 90, lambda: f"{self.terminal()}\n{self.said()}")

    def _import_template(self) -> None:
        server = ("--name", SERVER, "--company", "Stub", "--data", self._data)
        assert run("broker-server", "add", *server).returncode == 0
        content = self.home / "installed"
        (content / "config").mkdir(parents=True)
        (content / "config" / "servers.dat").write_bytes(b"servers")
        shutil.copy2(self._program, content / "terminal64.exe")
        imported = run("template", "import", content, "--data", self._data, "--broker", "Stub", "--server", SERVER)
        assert imported.returncode == 0, imported.stderr

    def _enrol(self) -> None:
        invitation = self.home / "invitation.json"
        agents = f"https://127.0.0.1:{self._first_port + 1}"
        invitation.write_text(run("enroll-token", "--data", self._data, "--name", "n1", "--url", agents).stdout)
        settings = container_settings(self._image).model_copy(update={"screen": True})
        gateway = f"127.0.0.1:{self._first_port + 2}"
        options = ("--name", "n1", "--gateway-listen", gateway, "--slots", "2", "--timing", json.dumps(_TIMING))
        command = [sys.executable, "-m", "node_agent.cli", "enroll", "--data", self._node, "--enrolment", invitation]
        container = ("--wine-container", settings.model_dump_json())
        subprocess.run([*map(str, command), *options, *container], check=True, capture_output=True, cwd=ROOT)

    def _run(self, module: str, verb: str, data: Path, *options: str) -> None:
        with (self.home / f"{verb}.log").open("wb") as log:
            command = [sys.executable, "-m", module, verb, "--data", str(data), *options]
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT))

    def said(self) -> str:
        return "".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.home.glob("*.log")))

    def _come_in(self, trader: dict[str, str]) -> None:
        """Once the portal answers; with a second factor, which connecting an account asks for."""
        self.http = httpx.Client(base_url=f"{self.url}/api/v1", headers={"Origin": self.url}, timeout=20.0)

        def answers() -> bool:
            try:
                return self.http.post("/auth/sign-in", json=trader).is_success
            except httpx.TransportError:
                return False

        wait_for(answers, 60, self.said)
        app = pyotp.TOTP(self.http.post("/auth/second-factor/totp").json()["secret"])
        confirmed = self.http.post("/auth/second-factor/totp/confirm", json={"code": app.now()})
        assert confirmed.status_code == 200, confirmed.text

    def terminal(self) -> dict[str, Any]:
        terminal: dict[str, Any] = self.http.get(f"/accounts/{self.account_id}").json()["terminal"]
        return terminal

    def ticket(self, scope: str = "view") -> dict[str, Any]:
        answer = self.http.post(f"/accounts/{self.account_id}/tickets", json={"scope": scope})
        assert answer.status_code == 201, answer.text
        ticket: dict[str, Any] = answer.json()
        return ticket

    def socket(self, **headers: str) -> ClientConnection:
        """As a browser opens it. Raises InvalidStatus."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())
        sent = {"Origin": self.url, "Cookie": cookies, **headers}
        address = f"{self.url.replace('http', 'ws', 1)}/api/v1/screen"
        return connect(address, additional_headers=sent, max_size=None, proxy=None)

    def somebody_else(self) -> str:
        """The cookies of another trader."""
        with httpx.Client(base_url=f"{self.url}/api/v1", headers={"Origin": self.url}, timeout=20.0) as other:
            assert other.post("/auth/sign-in", json=self._other).is_success
            return "; ".join(f"{name}={value}" for name, value in other.cookies.items())

    def stand_in_log(self) -> str:
        [log] = self._node.glob("terminals/*/folder/logs/stand_in.log")
        return log.read_text()

    def container(self) -> Any:
        label = f"org.mt5farm.terminal={self.terminal()['id']}"
        [container] = docker.from_env().containers.list(filters={"label": label})
        return container

    def commands(self) -> list[str]:
        """What runs in the container."""
        return [str(row[1]) for row in self.container().top(ps_args="-eo pid,comm")["Processes"]]

    def close(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        client = docker.from_env()
        for terminal in self._node.glob("terminals/ter_*"):
            label = {"label": f"org.mt5farm.terminal={terminal.name}"}
            for container in client.containers.list(all=True, filters=label):
                container.remove(force=True)
            for network in client.networks.list(filters=label):
                network.remove()
        client.close()
        down = [sys.executable, "-m", "node_agent.cli", "down", "--data", str(self._node)]
        subprocess.run(down, capture_output=True, check=False, cwd=ROOT)
        shutil.rmtree(self.home, ignore_errors=True)
