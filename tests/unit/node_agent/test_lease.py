"""A lease ends here before it ends for the control plane, and each means of ending a terminal has its time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5_bridge.lease import Lease, Moment
from node_agent.lease import Stage, renewed, stage, trade_lease

SENT = Moment("boot", 1000.0, 1_700_000_000.0)


def later(seconds: float, boot: str = "boot") -> Moment:
    return Moment(boot, SENT.elapsed + seconds, SENT.wall + seconds)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, Stage.HELD),
        (215.9, Stage.HELD),
        (216, Stage.STOP),
        (232.7, Stage.STOP),
        (232.9, Stage.KILL),
        (240, Stage.KILL),
        (1e9, Stage.KILL),
    ],
)
def test_terminals_are_ended_in_order_and_then_killed_before_the_end(seconds: float, expected: Stage) -> None:
    assert stage(Lease(SENT, 240.0), later(seconds)) is expected


def test_without_a_lease_nothing_may_run() -> None:
    assert stage(None, SENT) is Stage.KILL


def test_a_restart_of_the_machine_ends_it() -> None:
    assert stage(Lease(SENT, 240.0), later(1, boot="another")) is Stage.KILL


@given(st.floats(0, 1e4), st.floats(0, 1e4))
def test_time_only_makes_it_worse(first: float, second: float) -> None:
    early, late = sorted((first, second))
    lease = Lease(SENT, 240.0)
    assert stage(lease, later(early)) <= stage(lease, later(late))


@given(st.floats(0, 300))
def test_a_bridge_refuses_trades_no_later_than_the_terminal_is_ended(seconds: float) -> None:
    lease = Lease(SENT, 240.0)
    if stage(lease, later(seconds)) is not Stage.HELD:
        assert trade_lease(lease).left(later(seconds)) <= 1e-6


class TestRenewal:
    def test_counts_from_the_sending(self) -> None:
        assert renewed(Lease(SENT, 240.0), later(10), 240.0) == Lease(later(10), 240.0)

    def test_an_answer_that_was_overtaken_takes_nothing_back(self) -> None:
        present = Lease(later(10), 240.0)
        assert renewed(present, SENT, 240.0) == present

    def test_after_a_restart_of_the_machine_any_answer_counts(self) -> None:
        young = Moment("another", 3.0, SENT.wall)
        assert renewed(Lease(SENT, 240.0), young, 240.0) == Lease(young, 240.0)
