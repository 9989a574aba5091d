"""What a plan allows. Pure.

Bots that it does not allow are refused when they are made or started. Which symbols are traded is enforced beside the
terminal as well, whoever sends an order (`control_plane.risk.limits.plan_limits`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entitlements:
    """None is no limit."""

    pairs: frozenset[str] | None = None
    """Symbols in which positions may be opened, and that bots may be set to."""
    max_symbols: int | None = None
    """Different symbols that are open, or that bots run for, on one account."""
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
    symbols: frozenset[str] = frozenset()
    """Of the account's bots that run beside it."""


def refusal(held: Entitlements, wish: BotWish) -> tuple[str, str] | None:
    """Why the plan does not allow it, as (code, sentence that says what to do), or None."""
    if held.pairs is not None and wish.symbol not in held.pairs:
        names = ", ".join(sorted(held.pairs)) or "none"
        return "plan_pairs", f"Your plan has bots for {names}; choose one of these or another plan."
    if held.max_symbols is not None and len(wish.symbols | {wish.symbol}) > held.max_symbols:
        names = ", ".join(sorted(wish.symbols)) or "none"
        return "plan_symbols", (
            f"Your plan has bots for {held.max_symbols} symbols on an account, and they run for {names}; choose one of "
            "these, stop a bot or choose another plan."
        )
    if wish.custom and not held.custom:
        return "plan_custom", "Your plan has no strategies of your own; choose a built-in one or another plan."
    if not wish.paper and not held.auto_trading:
        return "plan_auto_trading", "Your plan has bots on paper only; let it trade on paper or choose another plan."
    if held.running_bots is not None and wish.running >= held.running_bots:
        return "plan_bots", f"Your plan has {held.running_bots} running bots; stop one or choose another plan."
    return None
