"""MACD cross: always on the side of the MACD line against its signal, from the first fresh cross on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from mt5_bridge.strategies import indicators
from mt5_bridge.strategies.base import STOPS, Context, Parameter, ParameterError, Side, Strategy

_DOUBT: Final = 1e-10
"""Share of the highest price by which sums that were made in another order may differ, many times over."""


class MacdCross(Strategy):
    """Opens and reverses at crosses of line and signal; a cross that was missed reverses a position as well."""

    name: ClassVar[str] = "macd_cross"
    title: ClassVar[str] = "MACD cross"
    help: ClassVar[str] = "Buys when the MACD line crosses above its signal line, sells when it crosses below."
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("fast", "Fast period", "Closed bars in the fast average.", int, 12, 2, 200),
        Parameter("slow", "Slow period", "Closed bars in the slow average; more than the fast one.", int, 26, 3, 500),
        Parameter("signal", "Signal period", "Values of the line in its own average.", int, 9, 1, 200),
        *STOPS,
    )

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        if self.settings["fast"] >= self.settings["slow"]:
            raise ParameterError("Fast period must be less than Slow period")

    @property
    def bars_needed(self) -> int:
        return (int(self.settings["slow"]) + int(self.settings["signal"])) * indicators.AVERAGE_MEMORY + 2

    def on_start(self, context: Context) -> None:
        indicators.require()

    def on_bar(self, context: Context, bars: npt.NDArray[Any]) -> None:
        chosen = self.settings
        line, signal = indicators.macd(
            indicators.column(bars, "close"), chosen["fast"], chosen["slow"], chosen["signal"]
        )
        before, now = line[-2] - signal[-2], line[-1] - signal[-1]
        held = context.held
        if (now > 0 and held is Side.SHORT) or (held is None and before <= 0 < now):
            self.hold(context, Side.LONG)
        elif (now < 0 and held is Side.LONG) or (held is None and before >= 0 > now):
            self.hold(context, Side.SHORT)

    def may_act(self, bars: npt.NDArray[Any], held: Side | None) -> npt.NDArray[np.bool_]:
        closes = indicators.column(bars, "close")
        doubt = float(np.abs(closes).max()) * _DOUBT
        now = self._difference(closes, self.bars_needed)
        if held is not None:
            return ~(now > doubt) if held is Side.LONG else ~(now < -doubt)
        # The difference of the bar before, as seen from the same window.
        before = np.concatenate(([np.nan], self._difference(closes, self.bars_needed - 1)[:-1]))
        rises = ~(before > doubt) & ~(now < -doubt)
        falls = ~(before < -doubt) & ~(now > doubt)
        return np.asarray(rises | falls)

    def _difference(self, closes: indicators.Values, count: int) -> indicators.Values:
        """Line minus signal of the newest `count` closes at each place; NaN where there are too few."""
        periods = (self.settings[name] for name in ("fast", "slow", "signal"))
        weights = indicators.macd_weights(count, *periods)
        # The weights add up to nothing, so that small numbers may take the place of prices.
        return indicators.weighted(closes - closes[:1], weights)
