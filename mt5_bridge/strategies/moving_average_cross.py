"""Moving-average cross: long when the fast average crosses above the slow one, short when it crosses below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from mt5_bridge.strategies.base import STOPS, Context, Parameter, ParameterError, Side, Strategy

_DOUBT: Final = 1e-7
"""Share of the highest price by which sums that were made in another order may differ, many times over."""


class MovingAverageCross(Strategy):
    """Opens only at a fresh cross. A position on the wrong side of the averages is reversed, however old the cross.

    The second rule covers crosses that happened while the bot could not see the market.
    """

    name: ClassVar[str] = "moving_average_cross"
    title: ClassVar[str] = "Moving-average cross"
    help: ClassVar[str] = "Buys when the fast average of closing prices crosses above the slow one, sells below."
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("fast", "Fast period", "Closed bars in the fast average.", int, 5, 1, 500),
        Parameter("slow", "Slow period", "Closed bars in the slow average; more than the fast one.", int, 20, 2, 1000),
        *STOPS,
    )

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        if self.settings["fast"] >= self.settings["slow"]:
            raise ParameterError("Fast period must be less than Slow period")

    @property
    def bars_needed(self) -> int:
        return int(self.settings["slow"]) + 1

    def on_bar(self, context: Context, bars: npt.NDArray[Any]) -> None:
        closes = np.ascontiguousarray(bars["close"])
        held, now = context.held, self._spread(closes)
        if held is None:
            before = self._spread(closes[:-1])
            if before <= 0 < now:
                self.hold(context, Side.LONG)
            elif before >= 0 > now:
                self.hold(context, Side.SHORT)
        elif now and (wanted := Side.LONG if now > 0 else Side.SHORT) is not held:
            self.hold(context, wanted)

    def may_act(self, bars: npt.NDArray[Any], held: Side | None) -> npt.NDArray[np.bool_]:
        closes = np.ascontiguousarray(bars["close"])
        sums = np.concatenate(([0.0], np.cumsum(closes - closes[0])))  # small numbers, so that little is lost
        averages = []
        for period in (self.settings["fast"], self.settings["slow"]):
            average = np.full(len(closes), np.nan)
            average[period - 1 :] = (sums[period:] - sums[:-period]) / period
            averages.append(average)
        difference, doubt = averages[0] - averages[1], float(np.abs(closes).max()) * _DOUBT
        above, below = ~(difference <= -doubt), ~(difference >= doubt)
        if held is not None:
            return np.asarray(below if held is Side.LONG else above)
        was_above, was_below = (np.concatenate(([True], one[:-1])) for one in (above, below))
        return np.asarray((above & was_below) | (below & was_above))

    def _spread(self, closes: npt.NDArray[np.float64]) -> float:
        """Fast average minus slow average at the last close; below a billionth of the price it is no difference."""
        fast, slow = self.settings["fast"], self.settings["slow"]
        # A sum is several times as fast as `mean`, which matters to a backtest of a million bars.
        slow_average = float(np.add.reduce(closes[-slow:])) / slow
        difference = float(np.add.reduce(closes[-fast:])) / fast - slow_average
        return difference if abs(difference) > abs(slow_average) * 1e-9 else 0.0
