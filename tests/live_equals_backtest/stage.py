"""One strategy over the same ticks twice: live, with all processes from bot to broker, and as a backtest."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mt5_bridge.auth import bot_token
from mt5_bridge.simulated.admin import BrokerAdmin
from mt5_bridge.strategies.backtest.recording import load
from mt5_bridge.strategies.backtest.run import Settings, run
from mt5_bridge.strategies.registry import create
from mt5_bridge.structs import TICKS_DTYPE

SYMBOL, SERVER, VOLUME, DEPOSIT = "EURUSD", "MT5Farm-Demo", 0.1, 10_000.0
COMPARED = ("time_msc", "type", "entry", "volume", "price", "profit", "commission", "swap", "fee")
MAGIC = 77
_TOKEN, _PASSWORD = "local-secret-0123456789", "stage-Secret-1"
Deals = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Scene:
    """A strategy, its parameters, and the ticks it sees."""

    strategy: str
    parameters: Mapping[str, Any]
    timeframe: int
    ticks: Any = field(repr=False)

    @property
    def until(self) -> int:
        """The last moment belongs to the end of the replay, at which nothing trades any more."""
        return int(self.ticks["time_msc"][-1])


def random_ticks(count: int, seed: int, seconds: float) -> Any:
    """Ticks (TICKS_DTYPE) of a random walk of EURUSD, `seconds` apart on average, some in the same millisecond."""
    random = np.random.default_rng(seed)
    ticks = np.zeros(count, TICKS_DTYPE)
    gaps = random.integers(0, int(seconds * 2000), count)
    gaps[random.random(count) < 0.05] = 0
    gaps[-1] = 1
    ticks["time_msc"] = 1_758_499_200_000 + np.cumsum(gaps)
    ticks["time"] = ticks["time_msc"] // 1000
    points = 117_500 + np.cumsum(random.integers(-12, 13, count))
    ticks["bid"] = points / 1e5
    ticks["ask"] = (points + random.integers(1, 12, count)) / 1e5
    ticks["flags"] = np.where(random.random(count) < 0.1, 4, 134)
    ticks["flags"][0] = 134
    return ticks


def with_an_end(ticks: Any) -> Any:
    """The ticks with one more that ends the replay: nobody acts on it, and a replay must last for an hour."""
    end = ticks[-1:].copy()
    end["time_msc"] = max(int(ticks["time_msc"][-1]) + 1000, int(ticks["time_msc"][0]) + 3_601_000)
    end["time"] = end["time_msc"] // 1000
    return np.concatenate((ticks, end))


def backtested(scene: Scene) -> Deals:
    """The deals of the backtest."""
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as name:
        recording = load(write_ticks(Path(name), scene.ticks), SYMBOL)
    settings = Settings(SYMBOL, scene.timeframe, VOLUME, deposit=DEPOSIT, last_msc=scene.until - 1, magic=MAGIC)
    return deals_of(run(create(scene.strategy, scene.parameters), recording, settings).trades)


def live(scene: Scene) -> Deals:
    """The deals in the broker's books after a bot process has been through all moments."""
    children: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp", ignore_cleanup_errors=True) as name:
        try:
            return _live(scene, Path(name), children)
        finally:
            for child in children:
                child.kill()
                child.wait(10)
                if child.stdout is not None:
                    child.stdout.close()


def _live(scene: Scene, folder: Path, children: list[subprocess.Popen[str]]) -> Deals:
    def start(module: str, *options: object, **pipes: Any) -> subprocess.Popen[str]:
        child = subprocess.Popen([sys.executable, "-m", module, *map(str, options)], text=True, **pipes)
        children.append(child)
        return child

    history = folder / "history"
    history.mkdir()
    write_ticks(history, scene.ticks)
    options = ["--history", history, "--symbols", SYMBOL, "--paused", "--listen", "127.0.0.1:0"]
    errors = (folder / "errors").open("w")
    quiet: dict[str, Any] = {"stderr": errors}
    broker = start(
        "mt5_bridge.simulated.server", *options, "--data", folder / "broker", stdout=subprocess.PIPE, **quiet
    )
    assert broker.stdout is not None
    ready = broker.stdout.readline()
    errors.close()
    if not ready:
        raise RuntimeError(f"the broker did not start: {(folder / 'errors').read_text()}")
    address = json.loads(ready)["address"]
    admin_token = folder / "broker" / "admin.token"
    admin = BrokerAdmin(address, admin_token.read_text().strip())
    login = admin.create_account(password=_PASSWORD, balance=DEPOSIT)
    _write_terminal(folder, login, address)
    start("mt5_bridge.simulated.terminal", "--folder", folder / "mt5", "--ipc", f"unix:{folder}/t")
    _eventually((folder / "t").exists)
    start("mt5_bridge.worker", "--config", folder / "worker.json", stderr=subprocess.DEVNULL)
    _eventually((folder / "w").exists)
    options = ["--config", folder / "bot.json", "--broker", address, "--token", admin_token, "--until", scene.until]
    (folder / "bot.json").write_text(json.dumps(bot_config(scene, folder)))
    bot = start("tests.live_equals_backtest.bot", *options)
    if bot.wait() != 0:
        raise RuntimeError(f"the bot of {scene.strategy} ended with {bot.returncode}")
    return deals_of([deal for deal in admin.deals(login) if deal.type in (0, 1)])


def _write_terminal(folder: Path, login: int, address: str) -> None:
    config = folder / "mt5" / "config"
    config.mkdir(parents=True)
    startup = config / "startup.ini"
    startup.touch(0o600)
    account = f"Login={login}\nPassword={_PASSWORD}\nServer={SERVER}\n"
    startup.write_text(f"[Common]\n{account}[Experts]\nAllowLiveTrading=1\nEnabled=1\n")
    (config / "servers.json").write_text(json.dumps({SERVER: address}))
    (folder / "token").write_text(_TOKEN)
    worker = {
        "terminal_id": "ter_1",
        "epoch": 1,
        "listen": f"unix:{folder}/w",
        "backend": "simulated",
        "backend_options": {"ipc": f"unix:{folder}/t"},
        "login": login,
        "server": SERVER,
        "journal": str(folder / "journal"),
        "token_file": str(folder / "token"),
        "guard": {},
        "log_file": str(folder / "worker.log"),
    }
    (folder / "worker.json").write_text(json.dumps(worker))


def bot_config(scene: Scene, folder: Path) -> dict[str, Any]:
    """The bot's configuration; its token is written beside it."""
    (folder / "bot.token").write_text(bot_token(_TOKEN, "bot:bot_1"))
    return {
        "bot_id": "bot_1",
        "revision": 1,
        "strategy": scene.strategy,
        "symbol": SYMBOL,
        "timeframe": scene.timeframe,
        "volume": VOLUME,
        "magic": MAGIC,
        "parameters": dict(scene.parameters),
        "worker": f"unix:{folder}/w",
        "token_file": str(folder / "bot.token"),
        "epoch": 1,
        "status_file": str(folder / "status.json"),
        "log_file": str(folder / "bot.log"),
    }


def write_ticks(folder: Path, ticks: Any) -> Path:
    """A file of ticks as a replay reads it."""
    file = folder / f"mt5_ticks_{SYMBOL}.parquet"
    names = ("time_msc", "bid", "ask", "last", "volume", "flags", "volume_real")
    pq.write_table(pa.table({name: np.ascontiguousarray(ticks[name]) for name in names}), file)
    return file


def deals_of(deals: Any) -> Deals:
    """What is compared of deals."""
    return [tuple(getattr(deal, name) for name in COMPARED) for deal in deals]


def _eventually(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("a process of the stage did not come up")
        time.sleep(0.01)
