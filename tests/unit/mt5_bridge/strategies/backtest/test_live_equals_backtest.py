"""A bot's own code on the simulated broker and a backtest over the same ticks have the same deals: every strategy."""

from __future__ import annotations

import pytest

from mt5_bridge.strategies.registry import BUILT_IN
from tests.live_equals_backtest.inside import live_inside
from tests.live_equals_backtest.run import PARAMETERS
from tests.live_equals_backtest.stage import Scene, backtested, random_ticks, with_an_end

M1 = 1
MOMENTS = {"learned_direction": 1100, "london_breakout": 1100}


@pytest.mark.parametrize("strategy", sorted(BUILT_IN))
def test_live_and_backtest_have_the_same_deals(strategy: str) -> None:
    ticks = random_ticks(MOMENTS.get(strategy, 300), 3, 60.0)
    scene = Scene(strategy, PARAMETERS[strategy], M1, with_an_end(ticks))
    deals = live_inside(scene)
    assert deals
    assert deals == backtested(scene)
