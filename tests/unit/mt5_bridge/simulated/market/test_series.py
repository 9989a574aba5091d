"""What of a series is visible, and the copy functions: sections E and F."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt5_bridge.simulated.market.bars import aggregate, minute_bars, open_times
from mt5_bridge.simulated.market.series import Series
from mt5_bridge.simulated.market.synthetic import tick_flags
from mt5_bridge.structs import TICKS_DTYPE

START = 1_758_499_200  # a Monday, 00:00
POINT = 0.01


def _ticks(seconds: list[int], bids: list[int] | None = None) -> Any:
    ticks = np.zeros(len(seconds), TICKS_DTYPE)
    ticks["time"] = START + np.array(seconds)
    ticks["time_msc"] = ticks["time"] * 1000 + 5
    ticks["bid"] = np.array(bids if bids is not None else range(100, 100 + len(seconds))) / 100
    ticks["ask"] = ticks["bid"] + 0.02
    ticks["flags"] = tick_flags(ticks["bid"], ticks["ask"])
    return ticks


def _series(ticks: Any) -> Series:
    return Series(POINT, ticks, minute_bars(ticks, POINT))


def test_e5_the_forming_bar_changes_and_what_is_ahead_stays_hidden() -> None:
    series = _series(_ticks([0, 30, 59, 60, 90, 200]))
    series.release((START + 30) * 1000 + 5)
    (bar,) = series.bars_from_position(1, 0, 10)
    assert (bar["time"], bar["open"], bar["close"], bar["tick_volume"]) == (START, 1.0, 1.01, 2)
    series.release((START + 90) * 1000 + 5)
    first, second = series.bars_from_position(1, 0, 10)
    assert (first["close"], first["tick_volume"], second["open"], second["close"]) == (1.02, 3, 1.03, 1.04)


def test_e1_e2_positions_count_back_from_the_forming_bar() -> None:
    series = _series(_ticks(list(range(0, 600, 20))))
    series.release((START + 600) * 1000)
    bars = series.bars_from_position(1, 0, 10)
    assert np.array_equal(series.bars_from_position(1, 1, 9), bars[:-1])
    assert bars["time"].tolist() == [START + 60 * minute for minute in range(10)]
    assert len(series.bars_from_position(1, 20, 5)) == 0


def test_e1_from_a_date_and_in_a_range() -> None:
    series = _series(_ticks(list(range(0, 7200, 20))))
    series.release((START + 7200) * 1000)
    m15 = series.bars_until(15, START + 5400 + 59, 4)
    assert m15["time"].tolist() == [START + 2700, START + 3600, START + 4500, START + 5400]
    assert series.bars_until(15, 2**31 - 1, 1)["time"].tolist() == [START + 6300]
    between = series.bars_range(15, START + 900, START + 2700)
    assert between["time"].tolist() == [START + 900, START + 1800, START + 2700]
    assert len(series.bars_range(15, START + 2700, START + 900)) == 0  # E8
    assert np.array_equal(series.bars_until(15, START + 2700, 3), between)


def test_minutes_in_which_only_the_ask_moved_have_no_bar() -> None:
    ticks = _ticks([0, 70, 130], [100, 100, 101])
    ticks["ask"] = [1.02, 1.03, 1.04]
    ticks["flags"] = tick_flags(ticks["bid"], ticks["ask"])
    assert ticks["flags"].tolist() == [134, 4, 134]
    assert minute_bars(ticks, POINT)["time"].tolist() == [START, START + 120]


def test_f1_f2_ticks_forward_and_by_what_changed() -> None:
    series = _series(_ticks([0, 1, 1, 2, 3]))
    series.release((START + 2) * 1000 + 5)
    assert series.ticks_from(START + 1, 2, -1)["time"].tolist() == [START + 1, START + 1]
    assert len(series.ticks_from(START, 10, 1)) == 4
    assert len(series.ticks_from(START, 10, 2)) == 0
    assert len(series.ticks_range(START + 1, START + 1, -1)) == 2
    assert len(series.ticks_range(START + 1, START, -1)) == 0


@settings(deadline=None)
@given(
    seconds=st.lists(st.integers(0, 20_000), min_size=1, max_size=80).map(sorted),
    cut=st.integers(0, 20_000),
    timeframe=st.sampled_from([1, 5, 15, 16385, 16388, 16408, 32769, 49153]),
    count=st.integers(1, 50),
)
def test_any_moment_shows_the_bars_of_the_ticks_so_far(
    seconds: list[int], cut: int, timeframe: int, count: int
) -> None:
    ticks = _ticks(seconds)
    series = _series(ticks)
    series.release((START + cut) * 1000 + 5)
    expected = aggregate(minute_bars(ticks[ticks["time"] <= START + cut], POINT), timeframe)
    assert np.array_equal(series.bars_from_position(timeframe, 0, count), expected[-count:])
    assert np.array_equal(series.bars_range(timeframe, 0, 2**31 - 1), expected)


def test_forgetting_old_ticks_keeps_the_minute_at_hand() -> None:
    series = _series(_ticks([0, 61, 65]))
    series.release((START + 65) * 1000 + 5)
    before = series.bars_from_position(1, 0, 2)
    later = _ticks([200])
    series.extend(later, minute_bars(later, POINT), keep_ticks_from_msc=2**60, keep_bars=100)
    assert np.array_equal(series.bars_from_position(1, 0, 2), before)
    assert len(series.release((START + 200) * 1000 + 5)) == 1


@pytest.mark.parametrize(
    ("timeframe", "expected"),
    [(16408, START), (16388, START + 8 * 3600), (32769, START - 86_400), (49153, 1_756_684_800)],
)
def test_e3_bars_open_on_their_grid(timeframe: int, expected: int) -> None:
    assert open_times(np.array([START + 9 * 3600 + 59]), timeframe).tolist() == [expected]
