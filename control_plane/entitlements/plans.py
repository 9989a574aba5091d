"""The plans that people can have, and what each allows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from control_plane.entitlements.decision import EVERYTHING, Entitlements, StrategyKind


class Plan(StrEnum):
    FREE = "free"
    BASIC = "basic"
    PRO = "pro"
    ENTERPRISE = "enterprise"


BASIC_STRATEGIES: Final = frozenset({"moving_average_cross", "donchian_breakout"})
"""Built-in strategies whose only indicators are moving averages and the highest and lowest prices."""
LEARNING_STRATEGIES: Final = frozenset({"learned_direction"})
"""Built-in strategies that are trained."""

CATALOGUE: Final[Mapping[Plan, Entitlements]] = {
    Plan.FREE: Entitlements(
        max_symbols=1, auto_trading=False, indicators=False, ai=False, custom=False, programs=False
    ),
    Plan.BASIC: Entitlements(max_symbols=3, ai=False, custom=False, programs=False),
    Plan.PRO: Entitlements(programs=False),
    Plan.ENTERPRISE: EVERYTHING,
}


def allowed_by(plan: str | None) -> Entitlements:
    """What somebody may do. Without a plan everything: a farm that sells nothing limits nobody."""
    return EVERYTHING if plan is None else CATALOGUE[Plan(plan)]


def kind_of(strategy: str, *, custom: bool) -> StrategyKind:
    """Of a bot's strategy; `custom` says that it is the user's own."""
    if custom:
        return StrategyKind.CUSTOM
    if strategy in LEARNING_STRATEGIES:
        return StrategyKind.LEARNING
    return StrategyKind.BASIC if strategy in BASIC_STRATEGIES else StrategyKind.BUILT_IN
