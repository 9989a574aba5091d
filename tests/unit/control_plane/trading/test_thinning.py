"""Equity curves become coarser as they age, and nothing else happens to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from control_plane.trading.thinning import Tier, to_drop

NOW = datetime(2026, 3, 2, tzinfo=UTC)
TIERS = (
    Tier(timedelta(days=7), timedelta(minutes=5)),
    Tier(timedelta(days=30), timedelta(hours=1)),
    Tier(timedelta(days=365), timedelta(days=1)),
)
ages = st.lists(st.integers(0, 500 * 1440), max_size=300, unique=True)


def moments(minutes: list[int]) -> list[datetime]:
    return [NOW - timedelta(minutes=each) for each in minutes]


def test_each_age_has_its_distance() -> None:
    day = [NOW - timedelta(days=20, minutes=each) for each in range(1440)]
    assert len(day) - len(to_drop(day, TIERS, NOW)) in (288, 289)
    assert to_drop([NOW - timedelta(minutes=each) for each in range(1440)], TIERS, NOW) == []


@given(ages)
def test_thinning_twice_is_thinning_once(minutes: list[int]) -> None:
    points = moments(minutes)
    kept = set(points) - set(to_drop(points, TIERS, NOW))
    assert to_drop(kept, TIERS, NOW) == []
    assert not points or max(points) in kept


@given(ages)
def test_thinning_now_and_later_leaves_what_thinning_later_would(minutes: list[int]) -> None:
    points = moments(minutes)
    later = NOW + timedelta(days=40)
    kept = set(points) - set(to_drop(points, TIERS, NOW))
    assert kept - set(to_drop(kept, TIERS, later)) == set(points) - set(to_drop(points, TIERS, later))
