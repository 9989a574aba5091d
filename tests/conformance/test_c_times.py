"""Section C: times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from mt5_bridge.contract import CONSTANTS
from mt5_bridge.simulated.market.calendar import DAY, FX_WEEK
from mt5_bridge.simulated.market.server_clock import broker_time
from mt5_bridge.simulated.market.synthetic import default_start, synthetic_market
from tests.conformance.stage import Stage, deal


@pytest.mark.rule("C1", "C4")
def test_all_times_are_the_broker_s_clock_in_whole_seconds_and_milliseconds(stage: Stage) -> None:
    mt5 = stage.mt5
    stage.tick(1.1, 1.1001, seconds=0.75)
    mt5.order_send(deal(mt5))
    mt5.order_send({"action": 5, "symbol": "EURUSD", "volume": 0.1, "type": 2, "price": 1.09, "type_filling": 2})
    tick, position, order = mt5.symbol_info_tick("EURUSD"), mt5.positions_get()[0], mt5.orders_get()[0]
    past, deals = mt5.history_orders_get(0, 2**31 - 1)[0], mt5.history_deals_get(0, 2**31 - 1)
    assert tick.time_msc == position.time_msc == order.time_setup_msc == stage.broker.book.now_msc
    assert tick.time_msc % 1000 == 750
    for seconds, msc in (
        (tick.time, tick.time_msc),
        (position.time, position.time_msc),
        (position.time_update, position.time_update_msc),
        (order.time_setup, order.time_setup_msc),
        (past.time_done, past.time_done_msc),
        (deals[-1].time, deals[-1].time_msc),
    ):
        assert seconds == msc // 1000
    ticks = mt5.copy_ticks_from("EURUSD", 0, 1000, -1)
    assert np.array_equal(ticks["time"], ticks["time_msc"] // 1000)
    assert mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_D1, 0, 1)["time"][0] % 86_400 == 0  # server midnight


@pytest.mark.rule("C1")
@pytest.mark.parametrize("year", range(2007, 2037))
def test_the_broker_s_clock_is_new_york_plus_seven_hours(year: int) -> None:
    """From 2007 on, when the rules of the American summer time began that hold today."""
    for month in (1, 3, 7, 11):
        begins = int(datetime(year, month, 1, tzinfo=UTC).timestamp())
        for hour in range(begins, begins + 15 * DAY, 3600):  # the clocks change within these, on the hour
            for utc in (hour - 1, hour):
                in_new_york = datetime.fromtimestamp(utc, ZoneInfo("America/New_York")).replace(tzinfo=UTC)
                assert broker_time(utc) == int(in_new_york.timestamp()) + 7 * 3600


@pytest.mark.rule("C1")
@pytest.mark.parametrize(("close", "hours"), [
    (datetime(2026, 3, 6, 22, tzinfo=UTC), 2),  # the last close of the week in winter: 17:00 in New York
    (datetime(2026, 3, 13, 21, tzinfo=UTC), 3),  # in summer
    (datetime(2026, 10, 30, 21, tzinfo=UTC), 3),
    (datetime(2026, 11, 6, 22, tzinfo=UTC), 2),
])  # fmt: skip
def test_weeks_end_with_new_york_in_summer_and_winter(close: datetime, hours: int) -> None:
    moment = int(close.timestamp())
    shown = broker_time(moment)
    assert shown == moment + hours * 3600
    assert (shown % DAY, FX_WEEK.is_open(shown - 1), FX_WEEK.is_open(shown)) == (0, True, False)
    assert default_start(broker_time(moment - 1)) == shown - 5 * DAY  # Monday 00:00 of that clock


@pytest.mark.rule("C1")
def test_bars_of_a_day_span_the_new_york_day_across_the_change_of_the_clocks() -> None:
    start = broker_time(int(datetime(2026, 3, 1, 22, tzinfo=UTC).timestamp()))  # Sunday evening: Monday 00:00
    market = synthetic_market(["EURUSD"], seed=1, start=start)
    market.release((start + 7 * DAY + 3600) * 1000)  # the clocks change on the Sunday
    days = market.series["EURUSD"].bars_range(CONSTANTS["TIMEFRAME_D1"], start, start + 8 * DAY)
    assert list(days["time"]) == [start + day * DAY for day in (0, 1, 2, 3, 4, 7)]


@pytest.mark.rule("C2", "C3")
def test_dates_are_numbers_or_datetimes_cut_to_whole_seconds(stage: Stage) -> None:
    mt5, now = stage.mt5, stage.now
    expected = mt5.copy_rates_from("EURUSD", 15, now, 4)
    assert len(expected) == 4
    aware = datetime.fromtimestamp(now, UTC)
    elsewhere = aware.astimezone(timezone(timedelta(hours=9)))
    naive = datetime.fromtimestamp(now)
    for date in (float(now), now + 0.9, aware, elsewhere, naive):
        assert np.array_equal(mt5.copy_rates_from("EURUSD", 15, date, 4), expected)
    for wrong in (np.int64(now), "2025-09-22", None):
        assert mt5.copy_rates_from("EURUSD", 15, wrong, 4) is None
        assert mt5.last_error()[0] == -2


@pytest.mark.rule("C2")
def test_floats_and_datetimes_of_any_size_are_dates(stage: Stage) -> None:
    mt5, far, early = stage.mt5, datetime(3000, 1, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)
    for timeframe in (mt5.TIMEFRAME_M1, mt5.TIMEFRAME_W1, mt5.TIMEFRAME_MN1):
        for date in (1e10, far):
            assert len(mt5.copy_rates_from("EURUSD", timeframe, date, 1)) == 1
        assert len(mt5.copy_rates_from("EURUSD", timeframe, 1e300, 1)) == 0  # no 64 bits hold it: the earliest there is
        assert len(mt5.copy_rates_range("EURUSD", timeframe, early, far)) > 0
        assert len(mt5.copy_rates_range("EURUSD", timeframe, far, early)) == 0
    for date in (float("nan"), -1e300, early):  # long before the first tick
        assert len(mt5.copy_ticks_from("EURUSD", date, 5, -1)) == 5
        assert len(mt5.copy_ticks_range("EURUSD", date, early, -1)) == 0
    assert mt5.history_deals_total(early, far) == len(mt5.history_deals_get(early, far)) == 1


@pytest.mark.rule("C2")
def test_dates_beyond_32_bits_raise(mt5: Any) -> None:
    with pytest.raises(SystemError) as caught:
        mt5.copy_rates_from("EURUSD", 15, 2**31, 4)
    assert isinstance(caught.value.__cause__, OverflowError)
