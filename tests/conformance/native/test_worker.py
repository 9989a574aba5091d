"""A bridge worker with the official package behind it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mt5_bridge.client import BridgeError, MetaTrader5
from tests.bridge_doubles import TOKEN, eventually
from tests.conformance.native.machine import WindowsMachine


@dataclass(frozen=True)
class NativeWorker:
    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    def client(self) -> MetaTrader5:
        address = f"unix:{self.folder}/w.sock"
        return MetaTrader5(address, token=TOKEN, scope="trade", epoch=7, principal="user:usr_1")


@pytest.fixture
def worker(machine: WindowsMachine) -> Iterator[NativeWorker]:
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as name:
        folder = Path(name)
        (folder / "token").write_text(TOKEN)
        configuration = {
            "terminal_id": "ter_1",
            "epoch": 7,
            "listen": f"unix:{folder}/w.sock",
            "backend": "native",
            "backend_options": machine.backend_options,
            "login": 5001,
            "server": "MT5Farm-Demo",
            "journal": str(folder / "journal.sqlite3"),
            "token_file": str(folder / "token"),
            "log_file": str(folder / "worker.log"),
        }
        (folder / "worker.json").write_text(json.dumps(configuration))
        command = [sys.executable, "-m", "mt5_bridge.worker", "--config", str(folder / "worker.json")]
        with subprocess.Popen(command) as process:
            try:
                eventually((folder / "w.sock").exists, 60)
                yield NativeWorker(process, folder)
            finally:
                process.kill()


def test_it_serves_and_says_why_there_is_no_terminal(worker: NativeWorker) -> None:
    with worker.client() as mt5:
        eventually(lambda: mt5.describe()["error_code"] == -10003)
        described = mt5.describe()
        assert described["error_text"] == "IPC initialize failed, MetaTrader 5 x64 not found"
        assert (described["backend"], described["linked"]) == ("native", False)
        with pytest.raises(BridgeError) as refused:
            mt5.account_info()
        assert refused.value.code == "terminal_lost"
        assert mt5.symbol_info() is None
        assert mt5.last_error() == (-2, "Invalid arguments")


def test_it_outlives_its_host_and_ends_with_it(worker: NativeWorker) -> None:
    def hosts() -> list[int]:
        lines = [line for line in worker.log.splitlines() if "runs MetaTrader5 5.0." in line]
        return [int(line.split("host process ")[1].split()[0]) for line in lines]

    eventually(lambda: len(hosts()) == 1)
    subprocess.run(["kill", "-9", str(hosts()[0])], check=True)
    eventually(lambda: len(hosts()) == 2)
    with worker.client() as mt5:
        eventually(lambda: mt5.describe()["error_code"] == -10003)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(20) == 0
    assert not Path(f"/proc/{hosts()[-1]}").exists()
