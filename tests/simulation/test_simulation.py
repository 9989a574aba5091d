"""A few dozen seeds in every run of the tests; `make simulate` plays thousands."""

from __future__ import annotations

import pytest

from tests.simulation.environment import simulated_environment
from tests.simulation.run import play_all
from tests.simulation.world import Result, play

_SEEDS = range(1, 41)
_PROCESSES = 2


@pytest.mark.timeout(600)
def test_that_no_seed_breaks_an_invariant() -> None:
    broken = {result.seed: result.broken for result in play_all(list(_SEEDS), _PROCESSES) if result.broken}
    assert broken == {}


@pytest.fixture(scope="module")
def twice() -> tuple[Result, Result]:
    with simulated_environment():
        return play(3), play(3)


def test_that_a_seed_replays_exactly(twice: tuple[Result, Result]) -> None:
    first, second = twice
    assert first.trace == second.trace
    assert first.events == second.events


def test_that_a_seed_has_faults_trades_and_a_happy_end(twice: tuple[Result, Result]) -> None:
    result = twice[0]
    assert result.faults["deals"] > 0
    assert any("FAULT" in line for line in result.trace)
    assert result.trace[-1].endswith("settled")
