"""`mt5farm-bridge history export` from a live terminal: what the broker replayed comes out row for row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.bridge_doubles import TOKEN

DATA = Path(__file__).parents[4].parent / "shared" / "market_data"
DAY = 86_400


@pytest.fixture
def house(stage: Any) -> Any:
    """A terminal at a still broker that has replayed two days of real ticks, and its worker."""
    if not DATA.is_dir():
        if os.environ.get("MT5FARM_REQUIRE_ALL") == "1":
            pytest.fail(f"{DATA} is needed")
        pytest.skip("the shared market data are not here")
    stage.broker("--history", str(DATA), "--symbols", "GBPUSD", "--paused")
    stage.admin.create_account(5001, password="secret-pw")
    stage.admin.step(seconds=2 * DAY)
    stage.terminal()
    (stage.folder / "token").write_text(TOKEN)
    worker = {"terminal_id": "ter_1", "listen": f"unix:{stage.folder}/w", "backend": "simulated", "login": 5001}
    worker |= {"backend_options": {"ipc": stage.ipc()}, "server": "MT5Farm-Demo", "guard": {}, "epoch": 1}
    worker |= {"journal": str(stage.folder / "journal"), "log_file": str(stage.folder / "worker.log")}
    worker |= {"token_file": str(stage.folder / "token")}
    (stage.folder / "worker.json").write_text(json.dumps(worker))
    stage.run("mt5_bridge.worker", "--config", str(stage.folder / "worker.json"))
    connection = {"address": worker["listen"], "token_file": worker["token_file"], "scope": "read", "epoch": 1}
    (stage.folder / "connection.json").write_text(json.dumps(connection))
    stage.until((stage.folder / "w").exists)
    return stage


def _export(stage: Any, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mt5_bridge.cli", "history", "export"]
    connection = ["--connection", str(stage.folder / "connection.json")]
    return subprocess.run([*command, *connection, *options], capture_output=True, text=True, timeout=60, check=False)


def test_ticks_and_bars_of_a_live_terminal(house: Any) -> None:
    out = house.folder / "out"
    begin = ["--symbol", "GBPUSD", "--from", "2025-09-25", "--output"]
    done = _export(house, "--kind", "ticks", *begin, str(out / "ticks.parquet"))
    assert done.returncode == 0, done.stderr
    assert "100 %" in done.stderr
    (source,) = DATA.glob("mt5_ticks_GBPUSD_*")
    real, saved = pq.read_table(source).to_pandas(), pq.read_table(out / "ticks.parquet").to_pandas()
    assert len(saved) > 50_000
    assert saved.equals(real[list(saved.columns)].iloc[: len(saved)])

    done = _export(house, "--kind", "M1", *begin, str(out), "--format", "csv")
    assert done.returncode == 0, done.stderr
    (bars,) = out.glob("GBPUSD_M1_*.csv")
    lines = bars.read_text().splitlines()
    assert lines[0].startswith("<DATE>\t<TIME>\t<OPEN>")
    minutes = np.unique(saved["time"] // 60)
    assert len(lines) - 1 in {len(minutes) - 1, len(minutes)}
    assert sorted(path.suffix for path in out.iterdir()) == [".csv", ".parquet"]


def test_what_cannot_be_exported_is_said_and_leaves_nothing(house: Any) -> None:
    out = house.folder / "out.parquet"
    begin = ["--kind", "ticks", "--output", str(out), "--from"]
    done = _export(house, *begin, "2025-09-25", "--symbol", "NOPE")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "does not know the symbol NOPE" in done.stderr
    assert _export(house, *begin, "2030-01-01", "--symbol", "GBPUSD").returncode == 1
    assert _export(house, *begin, "nonsense", "--symbol", "GBPUSD").returncode == 2
    assert not list(house.folder.glob("*out*"))
