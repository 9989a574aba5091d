"""The bar builder against a real terminal's own ticks and bars."""

from __future__ import annotations

import os

import numpy as np
import pytest

from mt5_bridge.contract import CONSTANTS
from mt5_bridge.simulated.market.history import Layout, read_ticks
from mt5_bridge.simulated.market.replay import replay_market
from tests.conformance import golden


@pytest.fixture(scope="module", autouse=True)
def _data() -> None:
    if not golden.DATA.is_dir():
        if os.environ.get("MT5FARM_REQUIRE_ALL") == "1":
            pytest.fail(f"{golden.DATA} is needed")
        pytest.skip("the shared market data are not here")


def test_minute_bars_from_ticks_are_those_of_the_terminal() -> None:
    for measure in golden.minutes():
        assert measure.holds, measure


@pytest.mark.parametrize(
    "name", [name for name in CONSTANTS if name.startswith("TIMEFRAME_") and name != "TIMEFRAME_M1"]
)
def test_higher_timeframes_are_those_of_the_terminal(name: str) -> None:
    measure = golden.timeframe(name)
    assert measure.total >= 9
    assert measure.holds, measure


def test_a_replay_serves_the_file_s_ticks_row_for_row() -> None:
    market = replay_market(golden.DATA, ["GBPUSD"])
    until = market.start_msc + 86_400_000
    market.release(until)
    ticks = read_ticks(golden.newest("GBPUSD", Layout.MT5_TICKS))
    released = ticks[ticks["time_msc"] <= until]
    served = market.series["GBPUSD"].ticks_range(0, 2**31 - 1, -1)
    assert np.array_equal(served, released)


def test_several_symbols_open_together_with_the_minutes_before_as_history() -> None:
    market = replay_market(golden.DATA, ["EURUSD", "GBPUSD"])
    series = market.series["EURUSD"]
    market.release(market.start_msc)
    assert market.series["GBPUSD"].last_tick is not None
    assert len(series.bars_from_position(1, 0, 5000)) == 5000
    assert series.bars_from_position(1, 0, 1)["time"][0] == market.start_msc // 60_000 * 60


@pytest.mark.parametrize("symbols", [["EURUSD", "XAUUSD"], ["USDJPY"], ["BTCUSD"], ["DE30EUR"], ["ES"]])
def test_other_layouts_replay_too(symbols: list[str]) -> None:
    market = replay_market(golden.DATA, symbols)
    market.release(market.start_msc + 3_600_000)
    for series in market.series.values():
        assert len(series.bars_from_position(1, 0, 10)) > 0
