"""A backtest plays bars and ticks as a bot would see them, and its orders are the engine's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mt5_bridge.simulated.market.bars import aggregate
from mt5_bridge.strategies.backtest import report
from mt5_bridge.strategies.backtest.run import CancelledError, run
from mt5_bridge.strategies.base import Context, Side, Strategy
from mt5_bridge.strategies.registry import BUILT_IN, create
from tests.unit.mt5_bridge.strategies.backtest.market import START, Listening, Scripted, settings, wandering

QUICK: dict[str, dict[str, Any]] = {
    "moving_average_cross": {"fast": 2, "slow": 6, "stop_loss_points": 25, "take_profit_points": 40},
    "rsi_reversion": {"period": 4, "stop_loss_points": 30},
    "bollinger_reversion": {"period": 8, "width": 1.5},
    "macd_cross": {"fast": 3, "slow": 7, "signal": 3},
    "donchian_breakout": {"entry": 8, "exit": 4},
    "atr_trailing": {"trend": 8, "period": 4, "multiple": 1.0},
    "london_breakout": {"range_from": 1, "range_to": 2, "last_entry": 6, "close_at": 8},
    "learned_direction": {"train": 300, "retrain": 60, "horizon": 3, "confidence": 0.5, "accuracy": 0.0},
}


def key(deals: list[Any]) -> list[tuple[Any, ...]]:
    return [(deal.time_msc, deal.type, deal.entry, deal.volume, deal.price, deal.profit) for deal in deals]


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_strategy_trades_and_does_the_same_again(name: str) -> None:
    recording = wandering(1500, seed=4)
    first, second = (run(create(name, QUICK[name]), recording, settings()) for _ in range(2))
    assert first.trades
    assert first.plain() == second.plain()


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - {"atr_trailing"}))
@hypothesis_settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1000), timeframe=st.sampled_from([1, 5]))
def test_stepping_over_calm_ticks_is_as_looking_at_each(name: str, seed: int, timeframe: int) -> None:
    kind = BUILT_IN[name]
    # A strategy that looks at ticks is given every moment of the market.
    looking: Any = type("Looking", (kind,), {"on_tick": lambda *_: None, "may_act": lambda *_: None})
    recording = wandering(700, seed)
    quick = run(kind(QUICK[name]), recording, settings(timeframe=timeframe))
    slow = run(looking(QUICK[name]), recording, settings(timeframe=timeframe))
    assert key(quick.trades) == key(slow.trades)
    assert quick.curve.points() == slow.curve.points()


def test_a_bar_is_acted_on_at_the_first_tick_after_it_and_its_window_is_fixed() -> None:
    seen = []
    recording = wandering(60)
    strategy = Scripted(lambda context, bars: seen.append((context.tick().time, bars.copy())), needed=3)
    run(strategy, recording, settings(timeframe=5))
    frames = aggregate(recording.bars, 5)
    # The first tick of a bar may stand where the last one did; the bid then moves with the next.
    assert all(0 <= at - opened < 60 for (at, _), opened in zip(seen, frames["time"][3:].tolist(), strict=True))
    for number, (_, bars) in enumerate(seen):
        assert np.array_equal(bars, frames[number : number + 3])
    assert strategy.calls == ["start", *["bar"] * len(seen), "stop"]


def test_explicit_orders_levels_and_the_news_of_deals() -> None:
    def act(context: Context, bars: Any) -> None:
        state = context.state
        state["n"] = state.get("n", 0) + 1
        held = context.positions()
        if state["n"] == 1:
            context.buy(0.2, stop_loss=1.0, take_profit=2.0)
            context.sell()
        elif state["n"] == 2:
            context.modify(held[0], stop_loss=1.01)
        elif state["n"] == 3:
            state["levels"] = [(one.sl, one.tp) for one in held]
            context.close(held[1])
        elif state["n"] == 4:
            assert context.held is Side.LONG
            context.target(None)

    strategy = Listening(act)
    result = run(strategy, wandering(30), settings(commission=5.0))
    assert [(deal.type, deal.entry, deal.volume) for deal in result.trades] == [
        (0, 0, 0.2),
        (1, 0, 0.1),
        (0, 1, 0.1),
        (1, 1, 0.2),
    ]
    assert [deal.ticket for deal in strategy.deals] == [deal.ticket for deal in result.trades]
    assert result.statistics.commission == -3.0
    assert result.statistics.trades == 2
    assert result.statistics.net_profit == pytest.approx(sum(deal.profit for deal in result.trades) - 3.0)


def test_levels_are_set_and_a_trailing_stop_never_moves_back() -> None:
    stops: list[float] = []

    def act(context: Context, bars: Any) -> None:
        if not context.state.get("open"):
            context.state["open"] = True
            context.buy()
            return
        for position in context.positions():
            stops.append(position.sl)
        context.trail(0.0004)

    run(Scripted(act), wandering(300, seed=2), settings())
    moved = [stop for stop in stops if stop]
    assert len(set(moved)) > 1
    assert moved == sorted(moved)


def test_a_refused_order_is_told_and_leaves_the_rest_undone() -> None:
    def act(context: Context, bars: Any) -> None:
        if "tried" not in context.state:
            context.state["tried"] = True
            context.buy(stop_loss=9.0)
            context.buy()

    result = run(Scripted(act), wandering(30), settings())
    assert result.trades == []
    assert "was refused" in result.log[0][1]


def test_what_comes_before_the_period_is_history_and_after_it_nothing() -> None:
    seen: list[int] = []
    strategy = Scripted(lambda context, bars: seen.append(int(bars["time"][-1])), needed=20)
    first, last = START + 60 * 40, START + 60 * 50
    result = run(strategy, wandering(100), settings(first_msc=first * 1000, last_msc=last * 1000 - 1))
    assert seen[0] == first - 60
    assert seen[-1] == last - 120
    assert result.curve.times[-1] < last * 1000


def test_it_tells_how_far_it_is_and_can_be_called_off() -> None:
    shares: list[float] = []

    def progress(share: float) -> bool:
        shares.append(share)
        return len(shares) < 2

    with pytest.raises(CancelledError):
        run(create("donchian_breakout", {}), wandering(6000), settings(), progress)
    assert 0 < shares[0] < shares[1] < 1


def test_a_wider_spread_costs_and_swaps_are_charged() -> None:
    def act(context: Context, bars: Any) -> None:
        if not context.state.get("open"):
            context.state["open"] = True
            context.buy()

    narrow, wide = (run(Scripted(act), wandering(2000), settings(spread=width)) for width in (0, 50))
    assert wide.statistics.equity == pytest.approx(narrow.statistics.equity - 5.0)
    charged = run(Scripted(act), wandering(2000), settings(spread=0, swap_long=-10.0, swap_short=-10.0))
    assert charged.statistics.equity < narrow.statistics.equity


def test_the_report_needs_nothing_from_elsewhere_and_escapes_what_is_logged() -> None:
    strategy: Strategy = Scripted(lambda context, bars: context.log("<b>&"))
    page = report.html(run(strategy, wandering(50), settings()).plain())
    assert "&lt;b&gt;&amp;" in page
    assert "<b>" not in page
    assert page.count("<svg") == 2
    assert "http" not in page.replace("http-equiv", "")


def test_a_long_curve_keeps_its_extremes() -> None:
    result = run(create("moving_average_cross", {"fast": 2, "slow": 5}), wandering(9000), settings())
    points = result.curve.points(200)
    assert len(points) < 300
    assert max(point[2] for point in points) == max(result.curve.equities)
    assert min(point[2] for point in points) == min(result.curve.equities)
