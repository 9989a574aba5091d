"""The built-in strategies by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mt5_bridge.strategies.atr_trailing import AtrTrailing
from mt5_bridge.strategies.base import ParameterError, Strategy
from mt5_bridge.strategies.bollinger_reversion import BollingerReversion
from mt5_bridge.strategies.donchian_breakout import DonchianBreakout
from mt5_bridge.strategies.learned_direction import LearnedDirection
from mt5_bridge.strategies.london_breakout import LondonBreakout
from mt5_bridge.strategies.macd_cross import MacdCross
from mt5_bridge.strategies.moving_average_cross import MovingAverageCross
from mt5_bridge.strategies.rsi_reversion import RsiReversion

BUILT_IN: Final[Mapping[str, type[Strategy]]] = {
    strategy.name: strategy
    for strategy in (
        MovingAverageCross,
        RsiReversion,
        BollingerReversion,
        MacdCross,
        DonchianBreakout,
        AtrTrailing,
        LondonBreakout,
        LearnedDirection,
    )
}


def create(name: str, parameters: Mapping[str, Any]) -> Strategy:
    """A strategy ready to run. Raises ParameterError, also for an unknown name."""
    strategy = BUILT_IN.get(name)
    if strategy is None:
        raise ParameterError(f"there is no strategy {name!r}")
    return strategy(parameters)


def catalogue() -> list[dict[str, Any]]:
    """All strategies and their parameters as plain JSON values, for forms."""
    return [
        {
            "name": strategy.name,
            "title": strategy.title,
            "help": strategy.help,
            "parameters": [
                {
                    "name": parameter.name,
                    "title": parameter.title,
                    "help": parameter.help,
                    "type": parameter.type.__name__,
                    "default": parameter.default,
                    "minimum": parameter.minimum,
                    "maximum": parameter.maximum,
                }
                for parameter in strategy.parameters
            ],
        }
        for strategy in BUILT_IN.values()
    ]
