"""Searches: what is tried, how it is ranked, and what of it was not seen."""

from __future__ import annotations

import functools

import pytest

from mt5_bridge.strategies import registry
from mt5_bridge.strategies.backtest import optimise
from mt5_bridge.strategies.backtest.run import CancelledError
from mt5_bridge.strategies.backtest.search_space import SearchError, combinations, values_between, values_of
from tests.unit.mt5_bridge.strategies.backtest.market import settings, wandering

CROSS = functools.partial(registry.create, "moving_average_cross")


def test_ranges_have_both_ends_and_whole_numbers_stay_whole() -> None:
    assert values_of("5:20:5") == [5, 10, 15, 20]
    assert values_of("0.1:0.3:0.1") == [0.1, 0.2, 0.3]
    assert values_of("3,1.5") == [3, 1.5]
    assert all(isinstance(value, int) for value in values_between(1, 3, 1))


@pytest.mark.parametrize("text", ["", "a", "5:1:1", "1:5:0", "1:2", "1:99999:1", "nan,1"])
def test_ranges_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(SearchError):
        values_of(text)


def test_combinations_that_the_strategy_refuses_are_left_out() -> None:
    tried = combinations(CROSS, {"stop_loss_points": 50}, {"fast": [3, 9], "slow": [5, 10]})
    assert [(one["fast"], one["slow"]) for one in tried] == [(3, 5), (3, 10), (9, 10)]
    assert {one["stop_loss_points"] for one in tried} == {50}
    with pytest.raises(SearchError, match="accepts none"):
        combinations(CROSS, {}, {"fast": [50], "slow": [5]})
    with pytest.raises(SearchError, match="at most"):
        combinations(CROSS, {}, {"fast": list(range(1, 200)), "slow": list(range(201, 400))})


def test_a_search_ranks_by_what_it_saw_and_two_processes_find_the_same() -> None:
    recording, terms = wandering(1200, seed=8), settings()
    tried = combinations(CROSS, {}, {"fast": [2, 3, 4], "slow": [8, 12]})
    cut = recording.bounds[0] + (recording.bounds[1] - recording.bounds[0]) * 7 // 10
    found = []
    for processes in (1, 2):
        with optimise.Workers(CROSS, recording, processes).running() as workers:
            found.append(optimise.search(workers, tried, terms, "net_profit", cut))
    one = found[0]
    assert found[0].plain() == found[1].plain()
    assert [trial.score for trial in one.trials] == sorted((trial.score for trial in one.trials), reverse=True)
    assert all(trial.unseen is not None for trial in one.trials)
    assert "6 combinations" in one.note


def test_walking_forward_never_judges_by_what_it_chose_on() -> None:
    recording = wandering(1200, seed=8)
    terms = settings(first_msc=recording.bounds[0], last_msc=recording.bounds[1])
    tried = combinations(CROSS, {}, {"fast": [2, 4]})
    with optimise.Workers(CROSS, recording, 1).running() as workers:
        walk = optimise.walk_forward(workers, tried, terms, "net_profit", 3)
    assert len(walk.steps) == 3
    for before, after in zip(walk.steps, walk.steps[1:], strict=False):
        assert before.first_msc < before.cut_msc < before.last_msc
        assert after.cut_msc == before.last_msc
    unseen = sum(step.unseen.equity - step.unseen.deposit for step in walk.steps)
    assert walk.unseen_profit == pytest.approx(unseen, abs=0.01)


def test_a_search_can_be_called_off() -> None:
    tried = combinations(CROSS, {}, {"fast": [2, 3, 4]})
    with optimise.Workers(CROSS, wandering(300), 1).running() as workers, pytest.raises(CancelledError):
        optimise.search(workers, tried, settings(), "net_profit", 2**61, lambda share: share < 0.5)
