"""A bot process on a stepped replay and a backtest over the same ticks have the same deals."""

from __future__ import annotations

import pytest

from tests.live_equals_backtest.run import PARAMETERS
from tests.live_equals_backtest.stage import Scene, backtested, live, random_ticks, with_an_end

M1 = 1


@pytest.mark.parametrize("strategy", ["moving_average_cross", "atr_trailing"])
def test_live_and_backtest_have_the_same_deals(strategy: str) -> None:
    scene = Scene(strategy, PARAMETERS[strategy], M1, with_an_end(random_ticks(400, 3, 30.0)))
    deals = live(scene)
    assert len(deals) > 10
    assert deals == backtested(scene)
