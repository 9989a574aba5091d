"""Broker, terminal, worker and bot as processes: each of them may be killed, and every order happens once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mt5_bridge.auth import bot_token
from mt5_bridge.client import BridgeError, BridgeLost, MetaTrader5
from mt5_bridge.settlement import UNDER_WAY_SECONDS
from mt5_bridge.simulated.admin import BrokerAdmin
from tests.bridge_doubles import TOKEN, eventually

PASSWORD = "farm-Secret-1"
SERVER = "MT5Farm-Demo"


class Line:
    """The processes of one account, from the broker to a bot."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: dict[str, subprocess.Popen[str]] = {}
        self.worker = f"unix:{folder}/w"
        self.ipc = f"unix:{folder}/t"
        self.start_broker()
        self.admin = BrokerAdmin(self.broker_address, (folder / "broker" / "admin.token").read_text().strip())
        self.login = self.admin.create_account(password=PASSWORD)
        self.write_files()
        for role in ("terminal", "worker", "bot"):
            self.start(role)

    def start_broker(self, port: int = 0) -> None:
        options = ["--data", str(self.folder / "broker"), "--listen", f"127.0.0.1:{port}", "--speed", "300"]
        command = [sys.executable, "-m", "mt5_bridge.simulated.server", *options, "--seed", "3", "--symbols", "EURUSD"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        self.broker_address = json.loads(child.stdout.readline())["address"]
        child.stdout.close()
        self.children["broker"] = child

    def start(self, role: str) -> None:
        commands = {
            "terminal": ["mt5_bridge.simulated.terminal", "--folder", str(self.folder / "mt5"), "--ipc", self.ipc],
            "worker": ["mt5_bridge.worker", "--config", str(self.folder / "worker.json")],
            "bot": ["mt5_bridge.strategies.runner", "--config", str(self.folder / "bot.json")],
        }
        self.children[role] = subprocess.Popen([sys.executable, "-m", *commands[role]], text=True)

    def write_files(self) -> None:
        config = self.folder / "mt5" / "config"
        config.mkdir(parents=True)
        account = f"Login={self.login}\nPassword={PASSWORD}\nServer={SERVER}\n"
        startup = config / "startup.ini"
        startup.touch(0o600)
        startup.write_text(f"[Common]\n{account}[Experts]\nAllowLiveTrading=1\nEnabled=1\n")
        (config / "servers.json").write_text(json.dumps({SERVER: self.broker_address}))
        token = self.folder / "token"
        token.write_text(TOKEN)
        token_of_bot = self.folder / "bot.token"
        token_of_bot.write_text(bot_token(TOKEN, "bot:bot_1"))
        worker = {"terminal_id": "ter_1", "listen": self.worker, "backend": "simulated", "login": self.login}
        worker |= {"backend_options": {"ipc": self.ipc}, "server": SERVER, "guard": {}}
        worker |= {"journal": str(self.folder / "journal"), "log_file": str(self.folder / "worker.log")}
        (self.folder / "worker.json").write_text(json.dumps(worker | {"token_file": str(token), "epoch": 1}))
        bot: dict[str, Any] = {"bot_id": "bot_1", "revision": 1, "strategy": "moving_average_cross", "magic": 7}
        bot |= {"symbol": "EURUSD", "timeframe": 1, "volume": 0.1, "parameters": {"fast": 2, "slow": 4}}
        bot |= {"worker": self.worker, "status_file": str(self.folder / "s"), "log_file": str(self.folder / "bot.log")}
        (self.folder / "bot.json").write_text(json.dumps(bot | {"token_file": str(token_of_bot), "epoch": 1}))

    def kill(self, role: str) -> None:
        self.children[role].send_signal(signal.SIGKILL)
        self.children[role].wait(10)

    def stop(self, role: str) -> int:
        self.children[role].terminate()
        return self.children[role].wait(10)

    def client(self) -> MetaTrader5:
        return MetaTrader5(self.worker, token=TOKEN, scope="trade", epoch=1, principal="user:usr_1")

    def trades(self) -> list[Any]:
        return [deal for deal in self.admin.deals(self.login) if deal.type in {0, 1}]

    def connected(self) -> bool:
        try:
            with self.client() as api:
                return bool(api.describe()["connected"])
        except (BridgeError, BridgeLost):
            return False

    def trades_on(self) -> None:
        """Wait until the terminal is connected and the bot has made two more deals."""
        eventually(self.connected, 20)
        before = len(self.trades())
        # An order that was on its way to a killed broker is settled before the next one: not sooner than its deadline.
        eventually(lambda: len(self.trades()) >= before + 2, 2 * UNDER_WAY_SECONDS)


@pytest.fixture
def line() -> Iterator[Line]:
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as folder:
        line = Line(Path(folder))
        try:
            yield line
        finally:
            for child in line.children.values():
                child.kill()
                child.wait(10)


@pytest.mark.timeout(400)
def test_each_process_may_be_killed_and_every_order_happens_once(line: Line) -> None:
    eventually(lambda: len(line.trades()) >= 3, 30)
    for role in ("bot", "terminal", "worker"):
        line.kill(role)
        line.start(role)
        line.trades_on()
    line.kill("broker")
    line.start_broker(int(line.broker_address.rpartition(":")[2]))
    line.trades_on()
    assert line.stop("bot") == 0
    with line.client() as api:
        eventually(lambda: api.describe()["unsettled"] == 0, 45)
        done = [row for row in api.journal(limit=1000) if row["state"] == "done"]
        bot_positions = [position for position in api.positions_get() if position.magic == 7]
    # One deal for each order in the journal, and no other deal.
    assert sorted(row["order"] for row in done) == sorted(deal.order for deal in line.trades())
    assert len(bot_positions) <= 1
    assert line.stop("worker") == 0
    assert not (line.folder / "w").exists()


def test_a_worker_is_small_and_never_shows_its_token(line: Line) -> None:
    eventually(line.connected, 20)
    pid = line.children["worker"].pid
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(int(row.split()[1]) for row in status.splitlines() if row.startswith("VmRSS"))
    assert resident < 60 * 1024
    assert TOKEN not in Path(f"/proc/{pid}/cmdline").read_text()
    assert TOKEN not in (line.folder / "worker.log").read_text()
    assert (line.folder / "w").stat().st_mode & 0o777 == 0o600
