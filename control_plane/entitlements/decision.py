"""What a plan allows. Pure.

Bots that it does not allow are refused when they are made or started, and finish when a plan changes. Which symbols are
traded is enforced beside the terminal as well, whoever sends an order (`control_plane.risk.limits.plan_limits`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from control_plane.errors import ForbiddenError


@dataclass(frozen=True)
class Entitlements:
    """None is no limit."""

    pairs: frozenset[str] | None = None
    """Symbols in which positions may be opened, and that bots may be set to."""
    max_symbols: int | None = None
    """Different symbols that are open, or that bots run for, on one account."""
    auto_trading: bool = True
    """Bots may trade for real (on paper they always may), as may programs with a ticket, and copying."""
    indicators: bool = True
    """Built-in strategies with more than basic indicators."""
    ai: bool = True
    """Built-in strategies that are trained."""
    custom: bool = True
    """Code of one's own."""
    programs: bool = True
    """Keys for programs that use the REST API."""
    running_bots: int | None = None


EVERYTHING = Entitlements()


class StrategyKind(StrEnum):
    BASIC = "basic"
    """Built in, with basic indicators only."""
    BUILT_IN = "built_in"
    LEARNING = "learning"
    CUSTOM = "custom"


@dataclass(frozen=True)
class BotWish:
    """What is asked for."""

    symbol: str
    kind: StrategyKind
    paper: bool
    running: int
    """The user's bots that run beside it."""
    symbols: frozenset[str] = frozenset()
    """Of the account's bots that run beside it."""


_NOT_THESE: Mapping[StrategyKind, tuple[str, str]] = {
    StrategyKind.BUILT_IN: (
        "plan_indicators",
        "Your plan has strategies with basic indicators only (moving averages, highest and lowest prices); choose one "
        "of these or another plan.",
    ),
    StrategyKind.LEARNING: (
        "plan_ai",
        "Your plan has no strategy that learns; choose another built-in one or another plan.",
    ),
    StrategyKind.CUSTOM: (
        "plan_custom",
        "Your plan has no strategies of your own; choose a built-in one or another plan.",
    ),
}


def refusal(held: Entitlements, wish: BotWish) -> tuple[str, str] | None:
    """Why the plan does not allow it, as (code, sentence that says what to do), or None."""
    refused = _refused_symbol(held, wish)
    if refused is not None:
        return refused
    kinds = {
        StrategyKind.BUILT_IN: held.indicators,
        StrategyKind.LEARNING: held.ai,
        StrategyKind.CUSTOM: held.custom,
    }
    if not kinds.get(wish.kind, True):
        return _NOT_THESE[wish.kind]
    if not wish.paper and not held.auto_trading:
        return "plan_auto_trading", "Your plan has bots on paper only; let it trade on paper or choose another plan."
    if held.running_bots is not None and wish.running >= held.running_bots:
        return "plan_bots", f"Your plan has {held.running_bots} running bots; stop one or choose another plan."
    return None


def _refused_symbol(held: Entitlements, wish: BotWish) -> tuple[str, str] | None:
    if held.pairs is not None and wish.symbol not in held.pairs:
        names = ", ".join(sorted(held.pairs)) or "none"
        return "plan_pairs", f"Your plan has bots for {names}; choose one of these or another plan."
    if held.max_symbols is not None and len(wish.symbols | {wish.symbol}) > held.max_symbols:
        names = ", ".join(sorted(wish.symbols)) or "none"
        return "plan_symbols", (
            f"Your plan has bots for {held.max_symbols} symbols on an account, and they run for {names}; choose one of "
            "these, stop a bot or choose another plan."
        )
    return None


def require_auto_trading(held: Entitlements) -> None:
    """Raises ForbiddenError where nothing may trade by itself."""
    if not held.auto_trading:
        raise ForbiddenError("Your plan has manual trading only; choose another plan.", code="plan_auto_trading")


def require_programs(held: Entitlements) -> None:
    """Raises ForbiddenError where programs may not use the REST API."""
    if not held.programs:
        raise ForbiddenError("Your plan has no keys for programs; choose another plan.", code="plan_programs")
