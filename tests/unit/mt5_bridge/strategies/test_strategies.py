"""Built-in strategies: parameters and signals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt5_bridge.strategies import indicators
from mt5_bridge.strategies.base import Context, ParameterError, Side, Target
from mt5_bridge.strategies.execution import filling
from mt5_bridge.strategies.registry import catalogue, create
from mt5_bridge.structs import RATES_DTYPE
from tests.bridge_doubles import struct


def bars(*closes: float) -> Any:
    array = np.zeros(len(closes), RATES_DTYPE)
    array["close"] = closes
    return array


def cross(**parameters: Any) -> Any:
    return create("moving_average_cross", {"fast": 1, "slow": 3} | parameters)


def decided(strategy: Any, shown: Any, held: Side | None) -> Target | None:
    """What a strategy wishes for at the close of the last of these bars."""
    context = Context("EURUSD", 1, 0.1, 7, terminal=Holding(held))
    strategy.on_bar(context, shown)
    assert len(context.wishes) <= 1
    wishes: Any = context.wishes
    return wishes[0] if wishes else None


class Holding:
    """A terminal with one position of the bot, or none."""

    def __init__(self, side: Side | None) -> None:
        held = () if side is None else (struct("TradePosition", ticket=1, type=side.value, magic=7),)
        self.positions = (struct("TradePosition", ticket=2, type=0, magic=8), *held)

    def positions_get(self, *, symbol: str) -> Any:
        return self.positions

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nobody asks for {name}")


FALL_THEN_RISE = bars(3, 2, 1, 9)
RISE_THEN_FALL = bars(1, 2, 3, -9)
RISING = bars(1, 2, 3, 4)


def test_a_fresh_cross_opens() -> None:
    assert decided(cross(), FALL_THEN_RISE, None) == Target(Side.LONG)
    assert decided(cross(), RISE_THEN_FALL, None) == Target(Side.SHORT)


def test_an_old_cross_does_not_open() -> None:
    assert decided(cross(), RISING, None) is None


def test_a_position_on_the_right_side_is_kept_and_on_the_wrong_side_reversed() -> None:
    assert decided(cross(), RISING, Side.LONG) is None
    assert decided(cross(), RISING, Side.SHORT) == Target(Side.LONG)
    assert decided(cross(), RISE_THEN_FALL, Side.LONG) == Target(Side.SHORT)


def test_a_flat_market_does_nothing() -> None:
    for held in (None, Side.LONG, Side.SHORT):
        assert decided(cross(), bars(1, 1, 1, 1), held) is None


def test_stops_are_passed_on() -> None:
    target = decided(cross(stop_loss_points=50, take_profit_points=80), FALL_THEN_RISE, None)
    assert target == Target(Side.LONG, 50, 80)


@given(st.lists(st.floats(1, 100), min_size=4, max_size=30), st.floats(0.1, 10))
def test_signals_do_not_depend_on_the_scale_of_prices(closes: list[float], factor: float) -> None:
    scaled = decided(cross(), bars(*(close * factor for close in closes)), None)
    plain = decided(cross(), bars(*closes), None)
    assert scaled == plain or plain is None or scaled is None


HINTED: dict[str, dict[str, Any]] = {
    "moving_average_cross": {"fast": 2, "slow": 5},
    "donchian_breakout": {"entry": 6, "exit": 3},
    "bollinger_reversion": {"period": 5, "width": 1.2},
    "rsi_reversion": {"period": 2, "oversold": 35, "overbought": 65},
    "macd_cross": {"fast": 2, "slow": 3, "signal": 2},
}


def market(moves: list[int], base: float, step: float) -> Any:
    """Bars in whole steps, so that closes often are exactly at a bound."""
    array = bars(*(base + step * np.cumsum(moves)))
    array["high"] = array["close"] + step * (np.arange(len(moves)) % 3)
    array["low"] = array["close"] - step * (np.arange(len(moves)) % 2)
    return array


@pytest.mark.parametrize("name", sorted(HINTED))
@settings(deadline=None)
@given(
    moves=st.lists(st.integers(-3, 3), min_size=8, max_size=80),
    scale=st.sampled_from([(1.1, 1e-5), (150.0, 1e-3), (60_000.0, 0.01), (1.0, 0.5), (0.5, 1e-8)]),
    held=st.sampled_from([None, Side.LONG, Side.SHORT]),
)
def test_where_a_strategy_says_that_it_will_not_act_it_does_not(
    name: str, moves: list[int], scale: tuple[float, float], held: Side | None
) -> None:
    strategy, shown = create(name, HINTED[name]), market(moves, *scale)
    asked = strategy.may_act(shown, held)
    assert asked is not None
    for closed in range(strategy.bars_needed, len(shown) + 1):
        if not asked[closed - 1]:
            assert decided(strategy, shown[closed - strategy.bars_needed : closed], held) is None


@pytest.mark.parametrize(("period", "count"), [(2, 17), (5, 41), (14, 113)])
def test_weights_give_the_index_that_the_library_gives(period: int, count: int) -> None:
    closes = np.cumsum(np.random.default_rng(period).integers(-9, 10, 200), dtype=np.float64) * 1e-4 + 1.1
    changes, weights = np.diff(closes), indicators.wilder_weights(period, count)
    gains, losses = (indicators.weighted(np.maximum(one, 0.0), weights) for one in (changes, -changes))
    wanted = [indicators.rsi(closes[end - count - 1 : end], period)[-1] for end in range(count + 1, 201)]
    assert (100 * gains / (gains + losses))[count - 1 :] == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(("fast", "slow", "signal", "count"), [(2, 3, 2, 22), (3, 8, 1, 40), (12, 26, 9, 142)])
def test_weights_give_the_cross_that_the_library_gives(fast: int, slow: int, signal: int, count: int) -> None:
    closes = np.cumsum(np.random.default_rng(slow).integers(-9, 10, 300), dtype=np.float64) * 1e-4 + 1.1
    found = indicators.weighted(closes, indicators.macd_weights(count, fast, slow, signal))
    pairs = [indicators.macd(closes[end - count : end], fast, slow, signal) for end in range(count, 301)]
    assert found[count - 1 :] == pytest.approx([line[-1] - smoothed[-1] for line, smoothed in pairs], abs=1e-13)


@pytest.mark.parametrize("name", sorted(HINTED))
@pytest.mark.parametrize("held", [None, Side.LONG, Side.SHORT])
def test_a_hint_spares_most_of_the_questions_that_come_to_nothing(name: str, held: Side | None) -> None:
    strategy = create(name, HINTED[name])
    shown = market(np.random.default_rng(1).integers(-9, 10, 2000).tolist(), 1.1, 1e-4)
    asked = strategy.may_act(shown, held)
    acts = [
        decided(strategy, shown[closed - strategy.bars_needed : closed], held) is not None
        for closed in range(strategy.bars_needed, len(shown) + 1)
    ]
    assert asked is not None
    assert int(asked.sum()) <= sum(acts) + 60


@pytest.mark.parametrize(
    "parameters",
    [
        {"fast": 3},
        {"fast": 0},
        {"fast": 1.5},
        {"fast": "1"},
        {"fast": True},
        {"fast": math.nan},
        {"slow": math.inf},
        {"slow": 5000},
        {"colour": 1},
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        cross(**parameters)


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ParameterError, match="no strategy"):
        create("martingale", {})


def test_the_catalogue_describes_every_parameter_and_its_defaults_work() -> None:
    for strategy in catalogue():
        defaults = {parameter["name"]: parameter["default"] for parameter in strategy["parameters"]}
        assert create(strategy["name"], defaults).bars_needed > 0


@pytest.mark.parametrize(("flags", "expected"), [(1, 0), (2, 1), (3, 0), (4, 2), (0, 2)])
def test_filling_is_chosen_from_what_the_symbol_allows(flags: int, expected: int) -> None:
    assert filling(flags) == expected
