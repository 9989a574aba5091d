"""Sections E and F: bars and ticks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mt5_bridge.contract import CONSTANT_GROUPS, CONSTANTS
from mt5_bridge.simulated.market.calendar import DAY
from mt5_bridge.simulated.market.synthetic import synthetic_market
from tests.conformance.stage import Stage
from tests.trading_desk import MONDAY_NOON

MONDAY = MONDAY_NOON // DAY * DAY
NAMES = ("time", "open", "high", "low", "close", "tick_volume", "spread", "real_volume")
TICK_NAMES = ("time", "bid", "ask", "last", "volume", "time_msc", "flags", "volume_real")


@pytest.mark.rule("E1", "E2")
def test_bars_by_position_by_date_and_by_range(stage: Stage) -> None:
    mt5, now = stage.mt5, stage.now
    bars = mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_H1, 0, 10)
    assert (bars.dtype.names, bars.shape) == (NAMES, (10,))
    assert np.all(np.diff(bars["time"]) > 0)
    assert np.all(bars["time"] % 3600 == 0)
    assert np.all((bars["low"] <= bars["open"]) & (bars["close"] <= bars["high"]))
    assert np.array_equal(mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_H1, 1, 9), bars[:-1])
    quarter = now - 1800  # 11:30
    four = mt5.copy_rates_from("EURUSD", mt5.TIMEFRAME_M15, quarter + 60, 4)
    assert list(four["time"]) == [quarter - 2700, quarter - 1800, quarter - 900, quarter]
    hour = mt5.copy_rates_range("EURUSD", mt5.TIMEFRAME_M15, now - 7200, now - 3600)
    assert list(hour["time"]) == [now - 7200 + 900 * step for step in range(5)]
    ahead = mt5.copy_rates_from("EURUSD", mt5.TIMEFRAME_M15, now + 86_400, 2)
    assert ahead["time"][-1] == mt5.symbol_info_tick("EURUSD").time // 900 * 900  # the forming bar


@pytest.mark.rule("E3")
def test_bars_open_on_the_server_s_clock(stage: Stage) -> None:
    mt5 = stage.mt5
    for name, timeframe in CONSTANT_GROUPS["TIMEFRAME"].items():
        bar = mt5.copy_rates_from_pos("EURUSD", timeframe, 0, 1)[0]
        moment = np.datetime64(int(bar["time"]), "s")
        if name == "TIMEFRAME_MN1":
            assert moment == moment.astype("datetime64[M]")
        elif name == "TIMEFRAME_W1":
            assert (int(bar["time"]) - 3 * 86_400) % (7 * 86_400) == 0  # 1970-01-04 was a Sunday
        else:
            minutes = (timeframe - 0x4000) * 60 if timeframe & 0x4000 else timeframe
            assert bar["time"] % (minutes * 60) == 0
    weekend = mt5.copy_rates_range("EURUSD", mt5.TIMEFRAME_H1, stage.now - 2 * 86_400, stage.now - 86_400)
    assert len(weekend) == 0  # bars without ticks do not exist


@pytest.mark.rule("E4")
def test_bars_are_of_bids_or_of_deals(stage: Stage) -> None:
    mt5, now = stage.mt5, stage.now
    for name, price in (("EURUSD", "bid"), ("ACME", "last")):
        info = mt5.symbol_info(name)
        bar = mt5.copy_rates_from(name, mt5.TIMEFRAME_M1, now - 60, 1)[0]
        ticks = mt5.copy_ticks_range(name, int(bar["time"]), int(bar["time"]) + 59, mt5.COPY_TICKS_ALL)
        prices = ticks[price]
        assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (
            prices[0],
            prices.max(),
            prices.min(),
            prices[-1],
        )
        assert bar["spread"] == round((ticks["ask"] - ticks["bid"]).min() / info.point)
        assert bar["tick_volume"] == len(ticks) >= 1
        assert bar["real_volume"] == (0 if price == "bid" else ticks["volume"].sum())
        assert info.chart_mode == (0 if price == "bid" else 1)


@pytest.mark.rule("E4")
def test_bars_of_deals_do_not_look_at_the_quotes(stage: Stage) -> None:
    mt5 = stage.mt5
    for last in (100.5, 103.0, 99.5, 101.0):
        stage.tick(100.0, 100.02, symbol="ACME", last=last)
        stage.tick(1.1, 1.1001)
    bar = mt5.copy_rates_from_pos("ACME", mt5.TIMEFRAME_M1, 0, 1)[0]
    assert (bar["high"], bar["low"], bar["close"]) == (103.0, 99.5, 101.0)
    assert mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_M1, 0, 1)[0]["close"] == 1.1


@pytest.mark.rule("E5")
def test_the_forming_bar_changes_between_calls(stage: Stage) -> None:
    mt5 = stage.mt5
    stage.tick(1.105, 1.1051)
    before = mt5.copy_rates_from_pos("EURUSD", 1, 0, 1)[0]
    stage.tick(1.107, 1.1071)
    after = mt5.copy_rates_from_pos("EURUSD", 1, 0, 1)[0]
    assert before["time"] == after["time"]
    assert (before["close"], after["close"], after["high"]) == (1.105, 1.107, 1.107)
    assert after["tick_volume"] == before["tick_volume"] + 1
    assert mt5.copy_rates_range("EURUSD", 1, stage.now - 3600, stage.now)[-1] == after
    assert mt5.copy_rates_from("EURUSD", 1, stage.now, 5)[-1] == after
    assert mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_D1, 0, 1)[0]["close"] == 1.107


@pytest.mark.rule("E6", "E9")
def test_counts_and_timeframes_that_are_none(mt5: Any) -> None:
    most = mt5.terminal_info().maxbars
    for timeframe, count in ((1, most), (1, 0), (1, -1), (7, 10)):
        assert mt5.copy_rates_from_pos("EURUSD", timeframe, 0, count) is None
        assert mt5.last_error() == (-2, "Terminal: Invalid params")
    assert len(mt5.copy_rates_from_pos("EURUSD", 1, 0, most - 1)) > 0


@pytest.mark.rule("E7", "F5")
def test_unknown_symbols_have_no_history(mt5: Any) -> None:
    for array in (
        mt5.copy_rates_from_pos("NOSUCH", 1, 0, 1),
        mt5.copy_rates_from("NOSUCH", 1, 0, 1),
        mt5.copy_rates_range("NOSUCH", 1, 0, 1),
        mt5.copy_ticks_from("NOSUCH", 0, 1, -1),
        mt5.copy_ticks_range("NOSUCH", 0, 1, -1),
    ):
        assert array is None
        assert mt5.last_error() == (-1, "Terminal: Call failed")


@pytest.mark.rule("E7")
@pytest.mark.parametrize(("fresh", "first"), [("ready", 100), ("missing", None), ("short", 50)])
def test_the_first_bars_of_a_symbol_may_be_missing_or_short(
    stages: Callable[..., Stage], fresh: str, first: int | None
) -> None:
    mt5 = stages(conventions={"fresh_history": fresh}).mt5
    for name in ("EURUSD", "GBPUSD"):  # each symbol's history loads by itself
        bars = mt5.copy_rates_from_pos(name, 1, 0, 100)
        if first is None:
            assert bars is None
            assert mt5.last_error() == (-1, "Terminal: Call failed")
        else:
            assert mt5.last_error() == (1, "Success")
            assert len(bars) == first
        whole = mt5.copy_rates_from_pos(name, 1, 0, 100)
        assert len(whole) == 100
        assert first is None or np.array_equal(bars, whole[-first:])  # what is short lacks the oldest


@pytest.mark.rule("E8", "F5")
def test_nothing_in_range_is_an_empty_array(stage: Stage) -> None:
    mt5, now = stage.mt5, stage.now
    for array in (
        mt5.copy_rates_range("EURUSD", 1, 1000, 2000),
        mt5.copy_rates_range("EURUSD", 1, now, now - 3600),
        mt5.copy_ticks_range("EURUSD", 1000, 2000, -1),
        mt5.copy_ticks_from("EURUSD", now + 3600, 10, -1),
    ):
        assert len(array) == 0
        assert mt5.last_error() == (1, "Success")
    assert 0 < len(mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_D1, 0, 50)) < 50


@pytest.mark.rule("F1", "F4")
def test_ticks_forward_from_a_date_and_in_a_range(stage: Stage) -> None:
    mt5, now = stage.mt5, stage.now
    ticks = mt5.copy_ticks_from("EURUSD", now - 3600, 100, mt5.COPY_TICKS_ALL)
    assert (ticks.dtype.names, len(ticks)) == (TICK_NAMES, 100)
    assert np.all(np.diff(ticks["time_msc"]) >= 0)
    assert ticks["time"][0] >= now - 3600
    assert np.array_equal(mt5.copy_ticks_from("EURUSD", now - 3600 + 0.9, 100, -1), ticks)  # whole seconds
    first, last = int(ticks["time"][0]), int(ticks["time"][-1])
    assert np.array_equal(mt5.copy_ticks_range("EURUSD", first, last, -1), ticks)  # both ends
    assert ticks["volume"].dtype.kind == "u"
    assert (ticks["last"].max(), ticks["volume"].max(), ticks["volume_real"].max()) == (0.0, 0, 0.0)
    halves = [mt5.copy_ticks_range("EURUSD", now - 7200 + 3600 * i, now - 3601 + 3600 * i, -1) for i in (0, 1)]
    assert np.all(np.diff(np.concatenate([half["time_msc"] for half in halves])) >= 0)


@pytest.mark.rule("F3", "F2")
def test_ticks_of_deals_tell_their_side_and_carry_all_values() -> None:
    market = synthetic_market(["AAPL"], seed=3, start=MONDAY)
    market.release((MONDAY + 20 * 3600) * 1000)
    series = market.series["AAPL"]
    ticks = series.ticks_range(MONDAY, MONDAY + DAY, CONSTANTS["COPY_TICKS_ALL"])
    assert len(ticks) > 1000
    flags = ticks["flags"]
    assert set(np.unique(flags & ~np.uint32(2 | 4 | 128))) == {0, 8 | 16 | 32, 8 | 16 | 64}
    bought, sold, quoted = (ticks[flags & 96 == side] for side in (32, 64, 0))
    assert np.array_equal(bought["last"], bought["ask"])  # who buys takes the ask
    assert np.array_equal(sold["last"], sold["bid"])
    assert abs(len(bought) - len(sold)) < len(bought) / 4
    assert len(quoted) > len(bought)
    for field, changed in (("bid", 2), ("ask", 4), ("last", 8), ("volume", 16), ("volume_real", 16)):
        before, after = ticks[field][:-1], ticks[field][1:]
        assert np.all(before[flags[1:] & changed == 0] == after[flags[1:] & changed == 0]), field
        assert np.all(ticks[field] > 0)
    deals = series.ticks_range(MONDAY, MONDAY + DAY, CONSTANTS["COPY_TICKS_TRADE"])
    assert np.array_equal(deals, ticks[flags & 24 != 0])


@pytest.mark.rule("F2", "F3")
def test_ticks_by_what_changed(stage: Stage) -> None:
    mt5, now = stage.mt5, stage.now
    stage.tick(1.1, 1.1002)
    stage.tick(99.9, 100.0, symbol="ACME", last=99.95)
    info = mt5.copy_ticks_from("EURUSD", now - 3600, 1000, mt5.COPY_TICKS_INFO)
    assert len(info) > 0
    assert np.all(info["flags"] & 6 != 0)
    assert len(mt5.copy_ticks_from("EURUSD", 0, 1000, mt5.COPY_TICKS_TRADE)) == 0
    assert mt5.last_error() == (1, "Success")
    traded = mt5.copy_ticks_range("ACME", now, now + 60, mt5.COPY_TICKS_TRADE)
    assert traded["last"][-1] == 99.95
    assert len(mt5.copy_ticks_range("ACME", now + 1, now + 60, mt5.COPY_TICKS_INFO)) == 0  # no quote has changed
    assert len(mt5.copy_ticks_range("ACME", now + 1, now + 60, mt5.COPY_TICKS_ALL)) == 1
    assert np.all((info["bid"] > 0) & (info["ask"] > 0))  # every row has all current values
    assert set(np.unique(info["flags"])) <= {2, 4, 6, 130, 134}
