"""What a plan lets bots do. Pure; until there are plans everything is allowed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entitlements:
    """None is no limit."""

    pairs: frozenset[str] | None = None
    """Symbols that bots may be set to."""
    auto_trading: bool = True
    """Bots may trade for real; on paper they always may."""
    indicators: bool = True
    ai: bool = True
    custom: bool = True
    """Code of one's own."""
    running_bots: int | None = None


EVERYTHING = Entitlements()


@dataclass(frozen=True)
class BotWish:
    """What is asked for."""

    symbol: str
    custom: bool
    paper: bool
    running: int
    """Bots of the tenant that run beside it."""


def refusal(held: Entitlements, wish: BotWish) -> tuple[str, str] | None:
    """Why the plan does not allow it, as (code, sentence that says what to do), or None."""
    if held.pairs is not None and wish.symbol not in held.pairs:
        names = ", ".join(sorted(held.pairs)) or "none"
        return "plan_pairs", f"Your plan has bots for {names}; choose one of these or another plan."
    if wish.custom and not held.custom:
        return "plan_custom", "Your plan has no strategies of your own; choose a built-in one or another plan."
    if not wish.paper and not held.auto_trading:
        return "plan_auto_trading", "Your plan has bots on paper only; let it trade on paper or choose another plan."
    if held.running_bots is not None and wish.running >= held.running_bots:
        return "plan_bots", f"Your plan has {held.running_bots} running bots; stop one or choose another plan."
    return None
