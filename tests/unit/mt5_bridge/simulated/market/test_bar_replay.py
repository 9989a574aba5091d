"""Replays of bars whose ticks are made as they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt5_bridge.simulated.market.bar_ticks import ticks_of_bars
from mt5_bridge.simulated.market.history import find_files, read_bars
from mt5_bridge.simulated.market.replay import replay_market

START = 1_758_499_200
COUNT = 20_000  # two weeks of minutes, more than a block and more than the ticks that are kept
POINT = 1e-5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    points = 110_000 + np.cumsum(rng.integers(-3, 4, (COUNT, 4)), axis=0)
    prices = {"open": points[:, 0], "close": points[:, 3], "high": points.max(axis=1), "low": points.min(axis=1)}
    columns: dict[str, Any] = {"time": START + np.arange(COUNT) * 60}
    columns |= {name: values / 1e5 for name, values in prices.items()}
    columns |= {"tick_volume": np.full(COUNT, 9), "spread": rng.integers(0, 9, COUNT)}
    pq.write_table(pa.table(columns), tmp_path / "bars_EURUSD.parquet")
    return tmp_path


def _released(market: Any, until_msc: int, step_msc: int) -> Any:
    pieces, now = [], market.start_msc
    while now <= until_msc:
        pieces += market.release(now).values()
        now += step_msc
    pieces += market.release(until_msc).values()
    return np.concatenate(pieces)


@pytest.mark.parametrize("step_msc", [7_000_000, 86_400_000 * 9])
def test_every_tick_comes_once_however_long_the_steps_are(folder: Path, step_msc: int) -> None:
    market = replay_market(folder, ["EURUSD"])
    (file,) = find_files(folder, "EURUSD")
    expected = ticks_of_bars(read_bars(file, POINT), 60, POINT)
    assert np.array_equal(_released(market, (START + COUNT * 60) * 1000, step_msc), expected)
    assert market.next_time_msc() is None


def test_a_replay_that_goes_on_is_the_one_that_never_stopped(folder: Path) -> None:
    moment, until = (START + 13_000 * 60 + 30) * 1000, (START + 13_500 * 60) * 1000
    whole, resumed = replay_market(folder, ["EURUSD"]), replay_market(folder, ["EURUSD"], moment)
    for market in (whole, resumed):
        market.release(moment)
    assert np.array_equal(whole.release(until)["EURUSD"], resumed.release(until)["EURUSD"])
    for timeframe in (1, 15, 16408, 49153):
        first, second = (one.series["EURUSD"].bars_from_position(timeframe, 0, 20_000) for one in (whole, resumed))
        assert np.array_equal(first, second)
    assert whole.series["EURUSD"].day == resumed.series["EURUSD"].day


def test_the_rows_leave_nothing_behind(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    spill = tmp_path_factory.mktemp("spill")
    market = replay_market(folder, ["EURUSD"], spill_folder=spill)
    assert list(spill.iterdir()) == []
    assert len(market.series["EURUSD"].bars_range(1, 0, 2**31 - 1)) <= 1
