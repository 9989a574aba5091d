"""Drives `mt5farm demo` as a person would: starts the command, reads what it prints, signs in over REST, stops it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from control_plane.demo.command import demo_processes
from tests.ports import free_ports

ROOT = Path(__file__).resolve().parent.parent
HISTORY = ROOT.parent / "shared" / "market_data"


class DemoFarm:
    """A running demo on free ports, with its data in a folder of its own."""

    def __init__(
        self,
        *options: str,
        data: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`settings` are variables of its environment."""
        self.data = data or Path(tempfile.mkdtemp(prefix="m5demo", dir="/tmp"))
        self.port = port or free_ports(4)
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.data / "demo.out"
        command = [
            sys.executable,
            "-m",
            "control_plane.cli",
            "demo",
            "--data",
            str(self.data),
            "--port",
            str(self.port),
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, **(settings or {})},
            )
        self._client: httpx.Client | None = None

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_up(self, seconds: float = 90.0) -> None:
        wait_for(lambda: "The farm is up" in self.said() or self.process.poll() is not None, seconds, self.said)
        assert self.process.poll() is None, self.said()

    def finish(self, seconds: float = 120.0) -> dict[str, Any]:
        """Press Ctrl-C and return the JSON of the last line (of a run with `--json`)."""
        self.process.send_signal(signal.SIGINT)
        return self.result(seconds)

    def result(self, seconds: float = 120.0) -> dict[str, Any]:
        self.process.wait(seconds)
        return dict(json.loads(self.said().splitlines()[-1]))

    def stop(self) -> int:
        if self._client is not None:
            self._client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def sign_in(self) -> tuple[str, str]:
        """E-mail and password that the demo printed."""
        found = re.search(r"Sign in +(\S+) +/ +(\S+)", self.said())
        assert found is not None, self.said()
        return found[1], found[2]

    def spare_account(self) -> tuple[str, str, str]:
        """Login, password and server of the free account that the demo printed."""
        found = re.search(r"Connect +login (\d+), password (\S+), server (\S+)", self.said())
        assert found is not None, self.said()
        return found[1], found[2], found[3]

    @property
    def client(self) -> httpx.Client:
        """REST as the demo user."""
        if self._client is None:
            email, password = self.sign_in()
            self._client = self.new_client()
            self._client.post("/auth/sign-in", json={"email": email, "password": password}).raise_for_status()
        return self._client

    def new_client(self) -> httpx.Client:
        return httpx.Client(base_url=f"{self.url}/api/v1", headers={"Origin": self.url}, timeout=20.0)

    def processes(self, role: str | None = None) -> list[dict[str, Any]]:
        return [row for row in demo_processes(self.data) if role in (None, row["role"])]

    def whole(self) -> bool:
        """All processes there, three terminals ready, three bots running, as the control plane reports them."""
        roles = [row["role"] for row in self.processes()]
        expected = {"broker": 1, "control plane": 1, "agent": 1, "gateway": 1, "terminal": 3, "worker": 3, "bot": 3}
        if any(roles.count(role) != number for role, number in expected.items()):
            return False
        try:
            accounts = self.client.get("/accounts").json()["items"]
            bots = self.client.get("/bots").json()["items"]
        except httpx.TransportError:
            return False
        ready = [account for account in accounts if account["terminal"]["phase"] == "ready"]
        running = [bot for bot in bots if bot["phase"] == "running"]
        return len(ready) == len(running) == 3

    def recorded_trades(self) -> int:
        """How many deals of trades the control plane has in its log (at most 200 counted per account)."""
        accounts = self.client.get("/accounts").json()["items"]
        pages = [self.client.get(f"/accounts/{a['id']}/deals", params={"limit": 200}).json() for a in accounts]
        return sum(1 for page in pages for deal in page["items"] if deal["symbol"])


def wait_for(condition: Callable[[], bool], seconds: float, explain: Callable[[], str] = lambda: "") -> float:
    """Wait until a condition holds; returns how long that took. Fails with an explanation after some seconds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"did not come to pass within {seconds} s. {explain()}")
        time.sleep(0.1)
    return time.monotonic() - began
