"""ATR trailing: follows the trend of an average with a stop loss that is drawn up behind the price, tick by tick."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy.typing as npt

from mt5_bridge.strategies import indicators
from mt5_bridge.strategies.base import Context, Parameter, Side, Strategy

_STEP = 0.1
"""The stop is moved when it gains this share of its distance, so that a broker is not asked at every tick."""


class AtrTrailing(Strategy):
    """Opens when a close crosses the average. Nothing but its trailing stop closes a position."""

    name: ClassVar[str] = "atr_trailing"
    title: ClassVar[str] = "ATR trailing stop"
    help: ClassVar[str] = "Opens when the close crosses an average; the stop loss follows at a multiple of the ATR."
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("trend", "Trend period", "Closed bars in the average that the close must cross.", int, 50, 2, 500),
        Parameter("period", "ATR period", "Closed bars of the average true range.", int, 14, 2, 200),
        Parameter("multiple", "Distance", "From the price to the stop, in average true ranges.", float, 3.0, 0.5, 20),
    )

    @property
    def bars_needed(self) -> int:
        trend, period = int(self.settings["trend"]), int(self.settings["period"])
        return max(trend * indicators.AVERAGE_MEMORY, period * indicators.WILDER_MEMORY) + 2

    def on_start(self, context: Context) -> None:
        indicators.require()

    def on_bar(self, context: Context, bars: npt.NDArray[Any]) -> None:
        distance = float(indicators.atr(bars, self.settings["period"])[-1]) * self.settings["multiple"]
        context.state["distance"] = distance
        if distance <= 0.0 or context.held is not None:
            return
        closes = indicators.column(bars, "close")
        average = indicators.ema(closes, self.settings["trend"])
        before, now = closes[-2] - average[-2], closes[-1] - average[-1]
        if before <= 0 < now:
            context.target(Side.LONG, stop_loss_points=context.points(distance))
        elif before >= 0 > now:
            context.target(Side.SHORT, stop_loss_points=context.points(distance))

    def on_tick(self, context: Context, tick: Any) -> None:
        distance = context.state.get("distance", 0.0)
        if distance > 0.0:
            context.trail(distance, distance * _STEP)
