"""Plans as the API shows them."""

from __future__ import annotations

from pydantic import BaseModel

from control_plane.entitlements.plans import Plan


class PlanRightsOut(BaseModel):
    """What a plan allows. For whatever is not named, everybody is alike."""

    plan: Plan
    symbols_per_account: int | None
    """Different symbols that may be open, or that bots run for, on one account; null is no limit."""
    auto_trading: bool
    """Bots trade for real, accounts copy others, and programs get tickets to trade; on paper bots always run."""
    all_indicators: bool
    """False: only the built-in strategies in `basic_strategies`, besides those that learn or are one's own."""
    learning_strategies: bool
    custom_strategies: bool
    programs: bool
    """Keys for programs that use this API."""


class PlanList(BaseModel):
    yours: Plan | None
    """null: you have none, and nothing is limited."""
    plans: list[PlanRightsOut]
    basic_strategies: list[str]
