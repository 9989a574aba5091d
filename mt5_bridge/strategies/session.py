"""A strategy at work: gives it the market's moments one by one and has its wishes carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mt5_bridge.strategies.base import Context, Strategy, Wish, overrides

CarryOut = Callable[[Sequence[Wish], str], None]
"""Carries wishes out in their order; the text names the occasion, the same whenever it comes again."""


class Session:
    """One strategy on one market. Live bots and backtests differ in who calls this, and in `carry_out`."""

    def __init__(self, strategy: Strategy, context: Context, carry_out: CarryOut) -> None:
        self.strategy = strategy
        self.context = context
        self._carry_out = carry_out
        self.wants_ticks = overrides(strategy, "on_tick")
        self.wants_trades = overrides(strategy, "on_trade")
        self.bars_needed = strategy.bars_needed

    def start(self) -> None:
        """Before the first moment."""
        self.strategy.on_start(self.context)
        self.context.wishes.clear()

    def stop(self) -> None:
        """After the last moment."""
        self.strategy.on_stop(self.context)
        self.context.wishes.clear()

    def bar(self, bars: Any) -> None:
        """A bar has closed; `bars` are the closed ones, `bars_needed` of them."""
        self.context.wishes.clear()
        self.strategy.on_bar(self.context, bars)
        if self.context.wishes:
            self._carry_out(tuple(self.context.wishes), str(int(bars["time"][-1])))

    def tick(self, tick: Any) -> None:
        """There is a new tick."""
        self.context.wishes.clear()
        self.strategy.on_tick(self.context, tick)
        if self.context.wishes:
            self._carry_out(tuple(self.context.wishes), f"t{tick.time_msc}")

    def trade(self, deal: Any) -> None:
        """A deal of the bot is in the books."""
        self.context.wishes.clear()
        self.strategy.on_trade(self.context, deal)
        if self.context.wishes:
            self._carry_out(tuple(self.context.wishes), f"d{deal.ticket}")
