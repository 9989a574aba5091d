"""Real broker and terminal processes in a short folder; all of them are ended with the test."""

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
from pathlib import Path
from typing import Any

import pytest

from mt5_bridge.backends.simulated import SimulatedBackend
from mt5_bridge.simulated.admin import BrokerAdmin
from mt5_bridge.simulated.link import connect

SERVER = "MT5Farm-Demo"
DEADLINE = 20.0


class Stage:
    """Starts processes, waits for conditions, and cleans up."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="m5", dir="/tmp"))
        self._processes: list[subprocess.Popen[str]] = []
        self._backends: list[SimulatedBackend] = []
        self.address = ""

    def run(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a module as a process."""
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def broker(self, *arguments: str, listen: str = "127.0.0.1:0") -> subprocess.Popen[str]:
        """Start the broker and wait until it is ready; a later one takes the first one's address."""
        data = str(self.folder / "broker")
        process = self.run(
            "mt5_bridge.simulated.server", "--data", data, "--listen", self.address or listen, *arguments
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        ready = json.loads(line)
        assert ready["ready"] is True
        assert ready["server"] == SERVER
        self.address = ready["address"]
        return process

    @property
    def admin(self) -> BrokerAdmin:
        """The operator's access to the broker."""
        return BrokerAdmin(self.address, (self.folder / "broker" / "admin.token").read_text())

    def terminal(
        self, name: str = "t1", *, password: str = "secret-pw", server: str = SERVER, through: str = ""
    ) -> subprocess.Popen[str]:
        """Start a terminal for account 5001; `through` is another address for its broker."""
        config = self.folder / name / "config"
        config.mkdir(parents=True, exist_ok=True)
        (config / "startup.ini").write_text(
            f"[Common]\nLogin=5001\nPassword={password}\nServer={server}\n[Experts]\nAllowLiveTrading=1\nEnabled=1\n"
        )
        (config / "servers.json").write_text(json.dumps({SERVER: through or self.address}))
        ipc = self.ipc(name)
        process = self.run("mt5_bridge.simulated.terminal", "--folder", str(self.folder / name), "--ipc", ipc)
        self.until(lambda: self._answers(ipc))
        return process

    @staticmethod
    def _answers(ipc: str) -> bool:
        try:
            connect(ipc, 1.0).close()
        except OSError:
            return False
        return True

    def ipc(self, name: str = "t1") -> str:
        """Address of a terminal."""
        return f"unix:{self.folder}/{name}.sock"

    def journal(self, name: str = "t1") -> str:
        """Everything that a terminal has written into its journal."""
        return "".join(path.read_text() for path in sorted((self.folder / name / "logs").glob("*.log")))

    def backend(self, name: str = "t1") -> SimulatedBackend:
        """A program beside the terminal, not yet initialised."""
        backend = SimulatedBackend(self.ipc(name))
        self._backends.append(backend)
        return backend

    @staticmethod
    def until(condition: Callable[[], Any]) -> Any:
        """Wait for a condition; its value."""
        limit = time.monotonic() + DEADLINE
        while time.monotonic() < limit:
            value = condition()
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError("the condition did not come true in time")

    @staticmethod
    def kill(process: subprocess.Popen[str]) -> None:
        """End a process with no chance to tidy up."""
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        """End everything that was started."""
        for backend in self._backends:
            backend.close()
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        shutil.rmtree(self.folder)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """An empty stage."""
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def play(stage: Stage) -> Stage:
    """A broker at 60 times the speed of life with account 5001 and its ready terminal."""
    stage.broker("--speed", "60", "--symbols", "EURUSD")
    assert stage.admin.create_account(5001, password="secret-pw") == 5001
    stage.terminal()
    return stage
