"""The strategy that learns: when it refuses to trade, and that it never looks ahead."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt5_bridge.strategies import learned_direction
from mt5_bridge.strategies.base import AwayError, Context, ParameterError, Side, Target, UnableError
from mt5_bridge.strategies.learned_direction import FEATURES, LEAD, STALE, LearnedDirection, features, train
from mt5_bridge.structs import RATES_DTYPE
from tests.bridge_doubles import struct

TRAIN, HORIZON, RETRAIN, WINDOW = 400, 3, 20, 31
WANTED = TRAIN + HORIZON + WINDOW - 1
LONG = {"weights": [0.0] * len(FEATURES), "offset": 5.0, "accuracy": 0.9, "trained_to": 0, "version": "x"}
"""A model that is sure of rising prices."""


def market(count: int, seed: int = 1, wave: int = 24) -> Any:
    """A price that swings, so that its direction can be learned."""
    random = np.random.default_rng(seed)
    bars = np.zeros(count, RATES_DTYPE)
    bars["time"] = 1_700_000_000 // 60 * 60 + 60 * np.arange(count)
    bars["close"] = 1.1 + 0.01 * np.sin(np.arange(count) * 2 * np.pi / wave) + random.normal(0, 0.0003, count)
    bars["high"], bars["low"] = bars["close"] + 0.001, bars["close"] - 0.001
    return bars


class Market:
    """A terminal that shows a market bar by bar, with one position of the bot or none."""

    def __init__(self, bars: Any, at: int) -> None:
        self.bars = bars
        self.at = at
        """Bars that have closed."""
        self.side: Side | None = None
        self.away = False

    def copy_rates_from_pos(self, _symbol: str, _timeframe: int, start: int, count: int) -> Any:
        assert start == 1, "the bar that is forming says nothing yet"
        return None if self.away else self.bars[max(0, self.at - count) : self.at]

    def positions_get(self, *, symbol: str) -> Any:
        del symbol
        if self.away:
            return None
        return () if self.side is None else (struct("TradePosition", ticket=1, type=self.side.value, magic=7),)

    def last_error(self) -> tuple[int, str]:
        return -10004, "No IPC connection"


class Bot:
    """The strategy on a market, as the runner drives it."""

    def __init__(self, shown: Market, state: dict[str, Any] | None = None, **values: Any) -> None:
        self.market = shown
        self.logged: list[str] = []
        terminal: Any = shown
        self.context = Context("EURUSD", 1, 0.1, 7, terminal=terminal, log=self.logged.append)
        self.context.state = {} if state is None else state
        given = {"train": TRAIN, "horizon": HORIZON, "retrain": RETRAIN, "confidence": 0.5, "accuracy": 0.0}
        self.strategy = LearnedDirection(given | values)
        self.strategy.on_start(self.context)

    def look(self) -> Side | str | None:
        """What it wants to hold at the close of this bar: a side, `nothing`, or None when it wishes for no change."""
        self.context.wishes.clear()
        self.strategy.on_bar(self.context, self.market.bars[self.market.at - WINDOW : self.market.at])
        wishes: list[Any] = self.context.wishes
        if not wishes:
            return None
        assert isinstance(wishes[0], Target)
        return wishes[0].side or "nothing"

    def next(self, bars: int = 1) -> Side | str | None:
        self.market.at += bars
        return self.look()


def kept(**changes: Any) -> dict[str, Any]:
    """The state that an earlier process has left, with a model that trades."""
    state = {"made_for": [*FEATURES, TRAIN, HORIZON, 1], "model": LONG, "age": 5}
    return state | changes


def test_untrained_it_opens_nothing_and_closes_what_it_holds() -> None:
    bot = Bot(Market(market(WANTED + 50), WANTED))
    assert [bot.look(), *(bot.next() for _ in range(LEAD - 1))] == [None] * LEAD
    other = Bot(Market(market(WANTED), WANTED))
    other.market.side = Side.SHORT
    assert other.look() == "nothing"


def test_trained_it_trades_from_so_many_bars_later_on() -> None:
    bot = Bot(Market(market(WANTED + 50), WANTED))
    bot.look()
    decisions = [bot.next() for _ in range(LEAD)]
    assert decisions[:-1] == [None] * (LEAD - 1)
    assert isinstance(decisions[-1], Side)
    assert "of unseen bars right" in bot.logged[0]
    assert bot.context.state["age"] == LEAD


def test_with_too_little_history_it_waits_until_there_is_enough() -> None:
    bot = Bot(Market(market(WANTED + 50), WANTED - 5))
    assert [bot.look(), *(bot.next() for _ in range(4))] == [None] * 5
    assert "wait" not in bot.context.state
    assert bot.next() is None
    assert bot.context.state["wait"] == LEAD, "now it trains"
    assert "model" not in bot.context.state


def test_a_model_that_is_not_right_often_enough_does_not_trade() -> None:
    bot = Bot(Market(market(WANTED + 50), WANTED), kept(model=LONG | {"accuracy": 0.6}), accuracy=0.6)
    bot.market.side = Side.LONG
    assert bot.look() == "nothing"
    better = Bot(Market(market(WANTED + 50), WANTED), kept(model=LONG | {"accuracy": 0.61}), accuracy=0.6)
    assert better.look() is Side.LONG


@pytest.mark.parametrize(("age", "expected"), [(STALE * RETRAIN - 1, Side.LONG), (STALE * RETRAIN, None)])
def test_a_stale_model_does_not_trade(age: int, expected: Side | None) -> None:
    bot = Bot(Market(market(100), 60), kept(age=age))
    assert bot.look() is expected
    held = Bot(Market(market(100), 60), kept(age=age))
    held.market.side = Side.LONG
    assert held.look() == (None if expected else "nothing")


@pytest.mark.parametrize(("missed", "expected"), [(STALE * RETRAIN - 6, Side.LONG), (STALE * RETRAIN, None)])
def test_bars_that_closed_while_it_was_away_make_a_model_older(missed: int, expected: Side | None) -> None:
    shown = market(400)
    bot = Bot(Market(shown, 100), kept(seen=int(shown["time"][99])))
    assert bot.next(missed) is expected
    assert bot.context.state["age"] == min(5 + missed, 5 + STALE * RETRAIN + 1)


def test_asked_again_for_a_bar_it_counts_it_once() -> None:
    bot = Bot(Market(market(WANTED + 50), WANTED), kept())
    bot.look()
    assert bot.context.state["age"] == 6
    bot.market.at += 1
    bot.market.away = True
    with pytest.raises(AwayError):
        bot.look()
    bot.market.away = False
    assert bot.look() is Side.LONG
    assert bot.context.state["age"] == 7


def test_a_model_of_other_features_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_direction, "FEATURES", (*FEATURES[1:], FEATURES[0]))
    bot = Bot(Market(market(100), 60), kept())
    assert bot.look() is None
    assert "other features" in bot.logged[0]


@pytest.mark.parametrize("changed", [{"horizon": 5}, {"train": 500}, {"seed": 2}])
def test_a_model_of_other_settings_is_thrown_away(changed: dict[str, int]) -> None:
    bot = Bot(Market(market(100), 60), kept(), **changed)
    assert bot.look() is None
    assert "model" not in bot.context.state


def test_a_model_without_a_word_of_what_it_was_made_of_is_thrown_away() -> None:
    state = kept()
    del state["made_for"]
    assert Bot(Market(market(100), 60), state).look() is None


@pytest.mark.parametrize("changed", [{}, {"confidence": 0.6}, {"retrain": 50}])
def test_a_model_of_the_same_making_goes_on_at_once_after_a_restart(changed: dict[str, Any]) -> None:
    bot = Bot(Market(market(100), 60), kept(wait=2), **changed)
    assert bot.look() is Side.LONG
    assert not bot.logged


@pytest.mark.parametrize(("offset", "expected"), [(5.0, Side.LONG), (-5.0, Side.SHORT), (0.1, None)])
def test_it_holds_the_side_that_is_likely_enough_and_nothing_between(offset: float, expected: Side | None) -> None:
    model = LONG | {"offset": offset}
    assert Bot(Market(market(100), 60), kept(model=model), confidence=0.6).look() is expected
    held = Bot(Market(market(100), 60), kept(model=model), confidence=0.6)
    held.market.side = Side.LONG
    assert held.look() == {Side.LONG: None, Side.SHORT: Side.SHORT, None: "nothing"}[expected]


def test_prices_that_go_one_way_teach_nothing() -> None:
    bars = market(WANTED)
    bars["close"] = 1 + np.arange(WANTED) / 1e4
    assert train(bars, HORIZON, 1) is None
    bot = Bot(Market(np.concatenate([bars, bars]), WANTED))
    bot.look()
    assert [bot.next() for _ in range(LEAD)] == [None] * LEAD
    assert "model" not in bot.context.state


def test_the_same_bars_and_settings_give_the_same_model() -> None:
    bars = market(WANTED)
    assert train(bars, HORIZON, 1) == train(bars.copy(), HORIZON, 1)
    other = train(bars, HORIZON + 1, 1)
    assert other is not None
    assert other["version"] != (train(bars, HORIZON, 1) or {})["version"]


@settings(max_examples=25)
@given(st.integers(40, 120), st.integers(0, 1000))
def test_features_know_nothing_of_later_bars(cut: int, seed: int) -> None:
    bars = market(150, seed)
    np.testing.assert_allclose(features(bars)[: cut - WINDOW + 1], features(bars[:cut]), rtol=1e-9, atol=1e-9)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sklearn", "sklearn.linear_model"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UnableError, match=r"mt5farm\[ai\]"):
        Bot(Market(market(100), 60))
    with pytest.raises(UnableError, match=r"mt5farm\[ai\]"):
        train(market(WANTED), HORIZON, 1)


def test_a_horizon_that_leaves_too_little_to_learn_from_is_refused() -> None:
    with pytest.raises(ParameterError, match="four times"):
        LearnedDirection({"train": 300, "horizon": 76})
