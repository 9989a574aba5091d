"""RSI reversion: buys when the market comes back from oversold, sells when it comes back from overbought."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy.typing as npt

from mt5_bridge.strategies import indicators
from mt5_bridge.strategies.base import STOPS, Context, Parameter, ParameterError, Side, Strategy


class RsiReversion(Strategy):
    """Opens when the index crosses back over a threshold, closes when it has come to the middle."""

    name: ClassVar[str] = "rsi_reversion"
    title: ClassVar[str] = "RSI reversion"
    help: ClassVar[str] = "Buys when the RSI rises out of oversold, sells when it falls out of overbought."
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("period", "Period", "Closed bars of the RSI.", int, 14, 2, 200),
        Parameter("oversold", "Oversold", "Buys when the RSI rises above this.", float, 30.0, 1, 50),
        Parameter("overbought", "Overbought", "Sells when the RSI falls below this.", float, 70.0, 50, 99),
        Parameter("exit", "Exit", "A position is closed when the RSI has come here.", float, 50.0, 1, 99),
        *STOPS,
    )

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        if not self.settings["oversold"] < self.settings["exit"] < self.settings["overbought"]:
            raise ParameterError("Exit must lie between Oversold and Overbought")

    @property
    def bars_needed(self) -> int:
        return int(self.settings["period"]) * indicators.WILDER_MEMORY + 2

    def on_start(self, context: Context) -> None:
        indicators.require()

    def on_bar(self, context: Context, bars: npt.NDArray[Any]) -> None:
        before, now = indicators.rsi(indicators.column(bars, "close"), self.settings["period"])[-2:]
        held, middle = context.held, self.settings["exit"]
        if held is None:
            if before <= self.settings["oversold"] < now:
                self.hold(context, Side.LONG)
            elif before >= self.settings["overbought"] > now:
                self.hold(context, Side.SHORT)
        elif (held is Side.LONG and now >= middle) or (held is Side.SHORT and now <= middle):
            self.hold(context, None)
