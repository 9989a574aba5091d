"""Bollinger reversion: against closes outside of the bands, back to the middle."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from mt5_bridge.strategies import indicators
from mt5_bridge.strategies.base import STOPS, Context, Parameter, Side, Strategy

_DOUBT: Final = 1e-6
"""How far a band may lie elsewhere when its sums are made in another order: many times what TA-Lib rounds away, which
calls variances of less than 1e-14 none. Of the price, and at least of 1.
"""
_BLOCK: Final = 4096
"""Windows that are unfolded in memory at once."""


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

    def may_act(self, bars: npt.NDArray[Any], held: Side | None) -> npt.NDArray[np.bool_]:
        period, width = int(self.settings["period"]), float(self.settings["width"])
        closes = indicators.column(bars, "close")
        acts = np.ones(len(closes), np.bool_)
        if len(closes) < period:
            return acts
        windows = np.lib.stride_tricks.sliding_window_view(closes, period)
        blocks = [windows[begin : begin + _BLOCK] for begin in range(0, len(windows), _BLOCK)]
        now = closes[period - 1 :]
        doubt = _DOUBT * (1 + width) * np.maximum(1.0, np.abs(now))
        above = now - np.concatenate([block.mean(axis=1) for block in blocks])
        if held is None:
            deviation = np.concatenate([block.std(axis=1) for block in blocks])
            acts[period - 1 :] = np.abs(above) >= width * deviation - doubt
        else:
            acts[period - 1 :] = above >= -doubt if held is Side.LONG else above <= doubt
        return acts
