"""The synthetic market and its clock."""

from __future__ import annotations

import numpy as np
import pytest

from mt5_bridge.simulated.market.calendar import FX_WEEK, monday_of
from mt5_bridge.simulated.market.synthetic import DEFAULT_SYMBOLS, synthetic_market

MONDAY = 1_758_499_200
DAY = 86_400


def test_the_same_seed_gives_the_same_market_and_another_seed_another() -> None:
    ticks = [synthetic_market(["EURUSD"], seed, MONDAY).release((MONDAY + 7200) * 1000)["EURUSD"] for seed in (1, 1, 2)]
    assert np.array_equal(ticks[0], ticks[1])
    assert not np.array_equal(ticks[0]["bid"], ticks[2]["bid"])


def test_a_market_that_goes_on_shows_what_the_uninterrupted_one_shows() -> None:
    moment = (MONDAY + 2 * DAY + 1800) * 1000
    whole, resumed = synthetic_market(["EURUSD"], 1, MONDAY), synthetic_market(["EURUSD"], 1, MONDAY, moment)
    for market in (whole, resumed):
        market.release(moment)
    first, second = (market.series["EURUSD"].bars_from_position(5, 0, 500) for market in (whole, resumed))
    assert np.array_equal(first, second)
    until = moment + 3_600_000
    assert np.array_equal(whole.release(until)["EURUSD"], resumed.release(until)["EURUSD"])


def test_history_is_there_before_the_start_and_quotes_are_sound() -> None:
    market = synthetic_market(DEFAULT_SYMBOLS, 3, MONDAY)
    market.release((MONDAY + 4 * 3600) * 1000)
    for name, series in market.series.items():
        assert len(series.bars_range(1, 0, MONDAY - 1)) >= 3000, name
        ticks = series.ticks_range(0, 2**31 - 1, -1)
        assert (ticks["ask"] > ticks["bid"]).all()
        assert (np.diff(ticks["time_msc"]) >= 0).all()
        digits = market.specs[name].digits
        assert (ticks["bid"] == [round(float(bid), digits) for bid in ticks["bid"]]).all()


def test_the_fx_week_ends_on_friday_midnight_and_the_next_tick_is_on_monday() -> None:
    market = synthetic_market(["EURUSD"], 1, MONDAY)
    market.release((MONDAY + 5 * DAY) * 1000)
    upcoming = market.next_time_msc()
    assert upcoming is not None
    assert 0 <= upcoming / 1000 - (MONDAY + 7 * DAY) < 600
    assert FX_WEEK.is_open(MONDAY)
    assert not FX_WEEK.is_open(MONDAY - 1)


@pytest.mark.parametrize("day", range(7))
def test_the_week_at_hand_begins_on_its_monday(day: int) -> None:
    assert monday_of(MONDAY + day * DAY + 3600) == MONDAY
