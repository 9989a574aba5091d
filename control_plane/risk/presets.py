"""Limits to start from: rule styles that are common among firms which fund traders, under neutral names."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from control_plane.risk.limits import DailyLoss, DrawdownRule, Limits


@dataclass(frozen=True)
class Preset:
    name: str
    title: str
    description: str
    limits: Limits


def _percent(value: str, kind: str = "static") -> DrawdownRule:
    return DrawdownRule.model_validate({"unit": "percent", "value": value, "kind": kind})


def _day(value: str, base: str = "higher") -> DailyLoss:
    return DailyLoss.model_validate({"unit": "percent", "value": value, "base": base})


PRESETS = (
    Preset(
        "two_step_static",
        "5 % a day, 10 % in all, static",
        "The most common evaluation: a day may lose 5 % of the higher of its opening balance and equity, the account "
        "10 % of its start. Everything is closed when a limit is hit.",
        Limits(daily_loss=_day("5"), drawdown=_percent("10"), on_breach="close_all"),
    ),
    Preset(
        "one_step_trailing",
        "3 % a day, 6 % trailing",
        "Single-phase style: the loss is counted from the highest equity there has been, so that gains raise the bar.",
        Limits(daily_loss=_day("3"), drawdown=_percent("6", "trailing"), on_breach="close_all"),
    ),
    Preset(
        "balance_based_day",
        "4 % a day of the balance, 8 % in all, static",
        "The day is counted from the balance alone, so that open gains of the night before do not count.",
        Limits(daily_loss=_day("4", "balance"), drawdown=_percent("8"), on_breach="close_all"),
    ),
    Preset(
        "instant_trailing",
        "5 % trailing without a daily limit",
        "Instant-funding style: one loss limit that follows the highest equity.",
        Limits(drawdown=_percent("5", "trailing"), on_breach="close_all"),
    ),
    Preset(
        "careful_own_money",
        "Careful with one's own money",
        "No more is opened after a day that lost 2 %; what is open stays. At most five positions, ten orders a minute.",
        Limits(daily_loss=_day("2"), max_positions=5, orders_per_minute=10),
    ),
    Preset(
        "bot_on_a_leash",
        "A bot on a leash",
        "Small and slow: 0.10 lots an order, 0.50 lots in all, five orders a minute, 3 % a day.",
        Limits(
            max_volume=Decimal("0.1"),
            max_open_volume=Decimal("0.5"),
            orders_per_minute=5,
            daily_loss=_day("3"),
            on_breach="close_all",
        ),
    ),
)
