"""Bollinger reversion: against closes outside of the bands, back to the middle."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy.typing as npt

from mt5_bridge.strategies import indicators
from mt5_bridge.strategies.base import STOPS, Context, Parameter, Side, Strategy


class BollingerReversion(Strategy):
    """Opens against a close outside of the bands, closes at a close beyond the middle."""

    name: ClassVar[str] = "bollinger_reversion"
    title: ClassVar[str] = "Bollinger reversion"
    help: ClassVar[str] = "Buys closes under the lower band, sells closes over the upper band, until the average."
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("period", "Period", "Closed bars of average and deviation.", int, 20, 2, 500),
        Parameter("width", "Width", "Standard deviations from the average to a band.", float, 2.0, 0.1, 10),
        *STOPS,
    )

    @property
    def bars_needed(self) -> int:
        return int(self.settings["period"])

    def on_start(self, context: Context) -> None:
        indicators.require()

    def on_bar(self, context: Context, bars: npt.NDArray[Any]) -> None:
        closes = indicators.column(bars, "close")
        upper, middle, lower = (
            band[-1] for band in indicators.bollinger(closes, self.settings["period"], self.settings["width"])
        )
        close, held = closes[-1], context.held
        if held is None:
            if close < lower:
                self.hold(context, Side.LONG)
            elif close > upper:
                self.hold(context, Side.SHORT)
        elif (held is Side.LONG and close >= middle) or (held is Side.SHORT and close <= middle):
            self.hold(context, None)
