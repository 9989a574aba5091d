"""Clocks of broker servers, and the week in which they trade."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.brokers.server_time import COMMON_ZONE, parse_zone, trading_weeks

ZONES = (COMMON_ZONE, "Europe/Athens", "UTC", "Asia/Tokyo", "Etc/GMT+3", "UTC-5", "Australia/Lord_Howe")
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    "text", ["", "Athens", "../etc/passwd", "America/New_York+15", "Europe/Athens+", "America", "x\0"]
)
def test_what_is_no_zone_is_refused_with_words(text: str) -> None:
    with pytest.raises(ValueError, match="write an IANA name"):
        parse_zone(text)


def test_the_common_week_closes_with_new_york_in_summer_and_winter() -> None:
    weeks = trading_weeks(parse_zone(COMMON_ZONE), datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 16, tzinfo=UTC))
    assert [(start.isoformat(), end.isoformat()) for start, end in weeks[:2]] == [
        ("2026-03-02T00:00:00+00:00", "2026-03-06T22:00:00+00:00"),
        ("2026-03-08T21:00:00+00:00", "2026-03-13T21:00:00+00:00"),
    ]


@given(
    st.sampled_from(ZONES),
    st.integers(0, 366 * 24).map(lambda hours: datetime(2026, 1, 1, tzinfo=UTC) + hours * HOUR),
    st.integers(1, 400),
)
def test_each_hour_is_open_exactly_when_the_servers_clock_says_a_working_day(
    text: str, start: datetime, hours: int
) -> None:
    zone = parse_zone(text)
    weeks = trading_weeks(zone, start, start + hours * HOUR)
    for number in range(hours):
        moment = start + number * HOUR + timedelta(minutes=29)
        opened = any(opens <= moment < closes for opens, closes in weeks)
        assert opened == (zone.wall(moment).weekday() < 5), moment
    assert all(one[1] <= two[0] for one, two in pairwise(weeks))
