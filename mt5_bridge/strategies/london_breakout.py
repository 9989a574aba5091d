"""London breakout: the range of the quiet hours before London opens, left in one direction, once a day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy.typing as npt

from mt5_bridge.strategies.base import Context, Parameter, ParameterError, Strategy

_DAY: Final = 86_400
_HOUR: Final = 3600


class LondonBreakout(Strategy):
    """Hours are the broker's clock: at the usual New York + 7 h, London opens at 10.

    A day whose range was not seen from its beginning, because the bot was started later, is not traded.
    """

    name: ClassVar[str] = "london_breakout"
    title: ClassVar[str] = "London breakout"
    help: ClassVar[str] = "Trades the first close outside of the morning's range; the other end of it is the stop loss."
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("range_from", "Range from", "Hour (broker time) in which the range begins.", int, 2, 0, 22),
        Parameter("range_to", "Range to", "Hour in which the range is complete and trading begins.", int, 10, 1, 23),
        Parameter("last_entry", "Last entry", "From this hour on nothing is opened.", int, 14, 1, 24),
        Parameter("close_at", "Close at", "From this hour on the position is closed.", int, 20, 1, 24),
        Parameter("reward", "Take profit", "In heights of the range, from the close; 0 for none.", float, 1.5, 0, 20),
    )

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        chosen = self.settings
        if not chosen["range_from"] < chosen["range_to"] < chosen["last_entry"] <= chosen["close_at"]:
            raise ParameterError("The hours must ascend: Range from, Range to, Last entry, Close at")

    @property
    def bars_needed(self) -> int:
        return 2

    def on_bar(self, context: Context, bars: npt.NDArray[Any]) -> None:
        before, opened = int(bars["time"][0]), int(bars["time"][1])
        high, low, close = (float(bars[name][1]) for name in ("high", "low", "close"))
        midnight = opened - opened % _DAY
        begin, end, last_entry, close_at = (
            midnight + self.settings[name] * _HOUR for name in ("range_from", "range_to", "last_entry", "close_at")
        )
        seen = context.state
        if before < begin <= opened < end:
            seen |= {"day": midnight, "high": high, "low": low, "done": False}
        elif seen.get("day") == midnight and opened < end:
            seen |= {"high": max(seen["high"], high), "low": min(seen["low"], low)}
        if context.held is not None:
            if opened >= close_at or opened < begin:
                context.target(None)
        elif seen.get("day") == midnight and end <= opened < last_entry and not seen["done"]:
            self._enter(context, close)

    def _enter(self, context: Context, close: float) -> None:
        high, low = context.state["high"], context.state["low"]
        reward = (high - low) * self.settings["reward"]
        if close > high:
            context.state["done"] = True
            context.buy(stop_loss=low, take_profit=close + reward if reward else 0.0)
        elif close < low:
            context.state["done"] = True
            context.sell(stop_loss=high, take_profit=close - reward if reward else 0.0)
