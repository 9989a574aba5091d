"""The whole simulated way with nothing stubbed: client, worker, terminal, broker, four processes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mt5_bridge.client import BridgeError, BridgeLost, MetaTrader5
from mt5_bridge.simulated.admin import BrokerAdmin
from tests.benchmarks.bridge import stub
from tests.benchmarks.bridge.report import Report

_PASSWORD = "bench-Secret-1"
READY_SECONDS = 0.5
RESIDENT_MB = 60.0


def measure_simulated(report: Report) -> None:
    """Times of the real path, and what a worker needs."""
    children: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp", ignore_cleanup_errors=True) as name:
        try:
            _measure(report, Path(name), children)
        finally:
            for child in children:
                child.kill()
                child.wait(10)
                if child.stdout is not None:
                    child.stdout.close()


def _start(children: list[subprocess.Popen[str]], module: str, *options: str, **pipes: Any) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-m", module, *options], text=True, **pipes)
    children.append(child)
    return child


def _measure(report: Report, folder: Path, children: list[subprocess.Popen[str]]) -> None:
    options = ["--data", str(folder / "broker"), "--listen", "127.0.0.1:0", "--speed", "1", "--symbols", stub.SYMBOL]
    broker = _start(children, "mt5_bridge.simulated.server", *options, stdout=subprocess.PIPE)
    assert broker.stdout is not None
    address = json.loads(broker.stdout.readline())["address"]
    admin = BrokerAdmin(address, (folder / "broker" / "admin.token").read_text().strip())
    login = admin.create_account(password=_PASSWORD)
    config = folder / "mt5" / "config"
    config.mkdir(parents=True)
    startup = config / "startup.ini"
    startup.touch(0o600)
    account = f"Login={login}\nPassword={_PASSWORD}\nServer={stub.SERVER}\n"
    startup.write_text(f"[Common]\n{account}[Experts]\nAllowLiveTrading=1\nEnabled=1\n")
    (config / "servers.json").write_text(json.dumps({stub.SERVER: address}))
    (folder / "token").write_text(stub.TOKEN)
    worker = {
        "terminal_id": "ter_1",
        "epoch": 1,
        "listen": f"unix:{folder}/w",
        "backend": "simulated",
        "backend_options": {"ipc": f"unix:{folder}/t"},
        "login": login,
        "server": stub.SERVER,
        "journal": str(folder / "journal"),
        "token_file": str(folder / "token"),
        "guard": {},
        "log_file": str(folder / "log"),
    }
    (folder / "worker.json").write_text(json.dumps(worker))
    _start(children, "mt5_bridge.simulated.terminal", "--folder", str(folder / "mt5"), "--ipc", f"unix:{folder}/t")
    _eventually((folder / "t").exists)
    time.sleep(1.0)
    starts = []
    for _ in range(3):
        begun = time.perf_counter()
        process = _start(children, "mt5_bridge.worker", "--config", str(folder / "worker.json"))
        _eventually((folder / "w").exists)
        starts.append(time.perf_counter() - begun)
        if len(starts) < 3:
            process.terminate()
            process.wait(20)
    report.judge("a worker is ready after (s)", statistics.median(starts), READY_SECONDS)
    with MetaTrader5(f"unix:{folder}/w", token=stub.TOKEN, scope="trade", epoch=1, principal="user:bench") as mt5:
        _eventually(lambda: mt5.describe()["connected"])
        report.judge("memory of a worker (MB)", _resident(process), RESIDENT_MB, digits=0)
        report.notes.append("the whole simulated way (worker, terminal, broker): " + _times(mt5))


def _times(mt5: MetaTrader5) -> str:
    mt5.symbol_select(stub.SYMBOL, True)
    calls: dict[str, Callable[[], Any]] = {
        "symbol_info_tick": lambda: mt5.symbol_info_tick(stub.SYMBOL),
        "account_info": mt5.account_info,
        "symbol_info": lambda: mt5.symbol_info(stub.SYMBOL),
        "positions_get": mt5.positions_get,
        "1,000 bars": lambda: mt5.copy_rates_from_pos(stub.SYMBOL, 1, 0, 1_000),
        "99,999 bars": lambda: mt5.copy_rates_from_pos(stub.SYMBOL, 1, 0, 99_999),
    }
    told = []
    for name, call in calls.items():
        times = []
        for _ in range(20 if name.startswith("99") else 200):
            begun = time.perf_counter()
            call()
            times.append(time.perf_counter() - begun)
        told.append(f"{name} {statistics.median(times) * 1e3:.2f} ms")
    return ", ".join(told)


def _resident(process: subprocess.Popen[str]) -> float:
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096 / 1e6


def _eventually(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (BridgeError, BridgeLost):
            pass
        time.sleep(0.005)
    raise RuntimeError("the simulated way did not come up")
