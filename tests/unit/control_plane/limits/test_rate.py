"""The rule of rate limits: a whole budget at once after a rest, then evenly, and never more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.limits.memory import MemoryBudgets
from control_plane.limits.rate import Bucket, Rate, nearest_to_its_end, standing

SECOND = 1_000_000
RATES = st.builds(Rate, st.integers(1, 50), st.integers(1, 120))
GAPS = st.lists(st.integers(0, 3 * SECOND), min_size=1, max_size=200)


def bucket(rate: Rate, name: str = "user") -> Bucket:
    return Bucket(name, name, rate)


@given(RATES, GAPS)
def test_never_more_than_the_budget_and_what_time_has_added(rate: Rate, gaps: list[int]) -> None:
    budgets, now, allowed = MemoryBudgets(), 0, []
    for gap in gaps:
        now += gap
        if budgets.take([bucket(rate)], now).allowed:
            allowed.append(now)
    for first in range(len(allowed)):
        for last in range(first, len(allowed)):
            added = (allowed[last] - allowed[first]) // rate.interval
            assert last - first + 1 <= rate.count + added


@given(RATES, st.integers(1, 100))
def test_who_keeps_to_the_rate_is_never_refused(rate: Rate, requests: int) -> None:
    budgets = MemoryBudgets()
    assert all(budgets.take([bucket(rate)], step * rate.interval).allowed for step in range(requests))


@given(RATES, GAPS)
def test_who_waits_as_told_is_allowed_and_not_told_too_long(rate: Rate, gaps: list[int]) -> None:
    budgets, now = MemoryBudgets(), 0
    for gap in gaps:
        now += gap
        found = budgets.take([bucket(rate)], now)
        if not found.allowed:
            assert 0 < found.retry_after <= rate.interval / SECOND + 1
            now += found.retry_after * SECOND
            assert budgets.take([bucket(rate)], now).allowed


def test_a_caller_is_told_what_is_left_and_when_all_is_there_again() -> None:
    budgets, rate = MemoryBudgets(), Rate(3, 30)
    assert [budgets.take([bucket(rate)], 0).remaining for _ in range(3)] == [2, 1, 0]
    refused = budgets.take([bucket(rate)], 0)
    assert (refused.allowed, refused.remaining, refused.retry_after, refused.reset_after) == (False, 0, 10, 30)
    assert budgets.take([bucket(rate)], 10 * SECOND).allowed


def test_a_request_that_one_budget_refuses_costs_no_other() -> None:
    budgets, small, big = MemoryBudgets(), Bucket("key", "k", Rate(1, 60)), Bucket("user", "u", Rate(5, 60))
    assert budgets.take([small, big], 0).allowed
    assert all(budgets.take([small, big], 0).name == "key" for _ in range(20))
    assert budgets.look(big, 0).remaining == 4


def test_a_clock_that_is_set_back_locks_nobody_out_for_longer_than_the_budget_lasts() -> None:
    budgets, rate = MemoryBudgets(), Rate(2, 10)
    budgets.take([bucket(rate)], 10**9 * SECOND)
    assert not budgets.take([bucket(rate)], 0).allowed
    assert budgets.take([bucket(rate)], 0).retry_after == 5


def test_addresses_without_end_do_not_fill_the_memory_and_who_owes_most_is_kept() -> None:
    budgets, rate = MemoryBudgets(most=100), Rate(2, 60)
    for _ in range(2):
        budgets.take([Bucket("address", "flooder", rate)], 0)
    for number in range(1000):
        budgets.take([Bucket("address", str(number), rate)], 0)
    assert len(budgets) <= 100
    assert not budgets.take([Bucket("address", "flooder", rate)], 0).allowed


def test_the_budget_that_refuses_is_the_one_that_is_told() -> None:
    empty, half = bucket(Rate(1, 60), "key"), bucket(Rate(10, 60), "user")
    found = [standing(half, 30 * SECOND, 0, allowed=False), standing(empty, 60 * SECOND, 0, allowed=False)]
    assert nearest_to_its_end(found).name == "key"


@pytest.mark.parametrize("text", ["", "5", "0/60", "5/0", "-1/5", "5/60/1", "many/60", "5/60\n"])
def test_a_rate_is_requests_and_seconds(text: str) -> None:
    with pytest.raises(ValueError, match="say requests/seconds"):
        Rate.parse(text)


def test_a_rate_reads_as_it_is_written() -> None:
    assert str(Rate.parse("600/60")) == "600/60"
