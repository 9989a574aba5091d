"""Our figures beside the naive ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from control_plane.trading.ledger import DealFacts
from control_plane.trading.statistics import figures as ours
from control_plane.trading.statistics.curve import Drawdown, balance_curve, days_of
from control_plane.trading.statistics.trades import trades_of
from tests.statistics import naive

GROUPS = ("by_symbol", "by_direction", "by_magic", "by_hour", "by_weekday", "by_month")
_SMALL = 1e-6
"""Below this a figure is a rounding error of money in cents, and compared absolutely."""


def our_figures(deals: Sequence[DealFacts]) -> dict[str, Any]:
    trades, points, days = trades_of(deals), balance_curve(deals), days_of(deals)
    found = {
        **vars_of(ours.trade_figures(trades)),
        **vars_of(ours.account_figures(deals, points, days, ())),
    }
    del found["equity_drawdown"]
    for name in GROUPS:
        found[name] = {group.key: float(group.net) for group in getattr(ours, name)(trades)}
    return found


def vars_of(figures: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name in asdict(figures):
        value = getattr(figures, name)
        if isinstance(value, Decimal):
            value = float(value)
        elif isinstance(value, ours.Streak):
            value = value.length
        elif isinstance(value, Drawdown) or name.endswith("drawdown"):
            value = value.depth if value is not None else 0.0
        shown[name] = value
    return shown


def differences(deals: Sequence[DealFacts]) -> Iterator[tuple[str, float]]:
    """Each figure with how far apart the two calculations are, relative; infinite where only one has a value."""
    mine, other = our_figures(deals), naive.figures(deals)
    assert mine.keys() == other.keys(), mine.keys() ^ other.keys()
    for name, value in mine.items():
        if isinstance(value, dict):
            assert value.keys() == other[name].keys(), name
            yield name, max((distance(value[key], other[name][key]) for key in value), default=0.0)
        else:
            yield name, distance(value, other[name])


def distance(one: float | None, other: float | None) -> float:
    if one is None or other is None:
        return 0.0 if one is other else float("inf")
    gap, size = abs(one - other), max(abs(one), abs(other))
    return gap / size if size > _SMALL else gap
