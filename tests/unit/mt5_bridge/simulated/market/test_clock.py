"""How market time runs."""

from __future__ import annotations

import itertools

import pytest

from mt5_bridge.simulated.market.clock import FASTEST, MAX_STRIDE_MSC, MarketClock


def test_the_clock_runs_at_its_speed_and_jumps() -> None:
    clock = MarketClock(1_000_000, 300.0, wall=50.0)
    assert clock.now(50.5) == 1_150_000
    clock.jump(9_000_000, 51.0)
    assert clock.now(51.1) == 9_030_000


def test_a_paused_clock_stands_still_and_goes_on_where_it_stood() -> None:
    clock = MarketClock(1_000_000, 10.0, wall=0.0)
    clock.pause(1.0)
    assert clock.paused
    assert clock.now(99.0) == 1_010_000
    clock.resume(100.0)
    assert clock.now(101.0) == 1_020_000


def test_a_new_speed_holds_from_now_on() -> None:
    clock = MarketClock(1_000_000, 10.0, wall=0.0)
    clock.set_speed(1.0, 1.0)
    assert clock.now(2.0) == 1_011_000


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_is_above_zero(speed: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        MarketClock(0, speed, wall=0.0)
    clock = MarketClock(0, 1.0, wall=0.0)
    with pytest.raises(ValueError, match="positive"):
        clock.set_speed(speed, 5.0)
    assert clock.now(6.0) == 6000


def test_a_market_that_cannot_keep_up_falls_behind_instead_of_taking_it_all_at_once() -> None:
    clock = MarketClock(0, 100_000.0, wall=0.0)
    assert clock.stride(3600.0, 0) == MAX_STRIDE_MSC
    assert clock.now(3600.0) == MAX_STRIDE_MSC


def test_the_fastest_clock_takes_longer_strides_while_they_are_worked_off_quickly() -> None:
    clock = MarketClock(0, FASTEST, wall=0.0)
    quick = [clock.stride(0.001 * number, 0) for number in range(1, 6)]
    lengths = [after - before for before, after in itertools.pairwise(quick)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]
    before = quick[-1]
    slow = clock.stride(10.0, 0)
    assert slow - before < lengths[-1]
    assert clock.now(11.0) == slow
