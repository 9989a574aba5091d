"""The bar builder against a real terminal's own ticks and bars."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mt5_bridge.contract import CONSTANTS
from mt5_bridge.simulated.market.bars import aggregate, minute_bars
from mt5_bridge.simulated.market.history import Layout, find_files, read_bars, read_ticks
from mt5_bridge.simulated.market.replay import replay_market

DATA = Path(__file__).parents[5].parent / "shared" / "market_data"
POINT = 1e-5
FIELDS = ("open", "high", "low", "close", "tick_volume", "spread")


@pytest.fixture(scope="module", autouse=True)
def _data() -> None:
    if not DATA.is_dir():
        if os.environ.get("MT5FARM_REQUIRE_ALL") == "1":
            pytest.fail(f"{DATA} is needed")
        pytest.skip("the shared market data are not here")


def _file(symbol: str, layout: Layout) -> Any:
    return min(
        (file for file in find_files(DATA, symbol) if file.layout is layout),
        key=lambda file: (file.step, -file.last_msc),
    )


def test_minute_bars_from_ticks_are_those_of_the_terminal() -> None:
    built = minute_bars(read_ticks(_file("EURUSD", Layout.MT5_TICKS)), POINT)
    real = read_bars(_file("EURUSD", Layout.MT5_BARS), POINT)
    real = real[(real["time"] >= built["time"][0]) & (real["time"] <= built["time"][-1])]
    assert np.array_equal(built["time"], real["time"])
    equal = {name: float((built[name] == real[name]).mean()) for name in FIELDS}
    assert all(equal[name] >= 0.9999 for name in FIELDS[:4])
    assert equal["tick_volume"] >= 0.999
    assert equal["spread"] >= 0.995


@pytest.mark.parametrize(
    "name", [name for name in CONSTANTS if name.startswith("TIMEFRAME_") and name != "TIMEFRAME_M1"]
)
def test_higher_timeframes_are_those_of_the_terminal(name: str) -> None:
    label = name.removeprefix("TIMEFRAME_")
    path = DATA / "mt5_bars_EURUSD_M2-MN1_2025.parquet"
    table = pq.read_table(path, filters=[("timeframe", "=", label)])
    real = {column: np.asarray(table.column(column).to_numpy()) for column in ("time", *FIELDS)}
    built = aggregate(read_bars(_file("EURUSD", Layout.MT5_BARS), POINT), CONSTANTS[name])
    # Both files are cut at their ends, so their first and last bars may be.
    both = np.intersect1d(built["time"], real["time"])[1:-1]
    ours, theirs = np.isin(built["time"], both), np.isin(real["time"], both)
    assert len(both) >= 9
    for column in FIELDS:
        assert np.array_equal(built[column][ours], real[column][theirs]), column


def test_a_replay_serves_the_file_s_ticks_row_for_row() -> None:
    market = replay_market(DATA, ["GBPUSD"])
    until = market.start_msc + 86_400_000
    market.release(until)
    ticks = read_ticks(_file("GBPUSD", Layout.MT5_TICKS))
    released = ticks[ticks["time_msc"] <= until]
    served = market.series["GBPUSD"].ticks_range(0, 2**31 - 1, -1)
    assert np.array_equal(served, released)


def test_several_symbols_open_together_with_the_minutes_before_as_history() -> None:
    market = replay_market(DATA, ["EURUSD", "GBPUSD"])
    series = market.series["EURUSD"]
    market.release(market.start_msc)
    assert market.series["GBPUSD"].last_tick is not None
    assert len(series.bars_from_position(1, 0, 5000)) == 5000
    assert series.bars_from_position(1, 0, 1)["time"][0] == market.start_msc // 60_000 * 60


@pytest.mark.parametrize("symbols", [["EURUSD", "XAUUSD"], ["USDJPY"], ["BTCUSD"], ["DE30EUR"], ["ES"]])
def test_other_layouts_replay_too(symbols: list[str]) -> None:
    market = replay_market(DATA, symbols)
    market.release(market.start_msc + 3_600_000)
    for series in market.series.values():
        assert len(series.bars_from_position(1, 0, 10)) > 0
