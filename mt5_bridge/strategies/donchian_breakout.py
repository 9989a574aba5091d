"""Donchian breakout: with closes beyond the range of many bars, out at closes beyond the range of fewer."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mt5_bridge.strategies.base import STOPS, Context, Parameter, Side, Strategy


class DonchianBreakout(Strategy):
    """The range is that of the bars before the one that has just closed."""

    name: ClassVar[str] = "donchian_breakout"
    title: ClassVar[str] = "Donchian breakout"
    help: ClassVar[str] = "Buys closes above the highest high of the bars before, sells closes below the lowest low."
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("entry", "Entry bars", "Bars whose range a close must leave to open.", int, 20, 2, 1000),
        Parameter("exit", "Exit bars", "Bars whose range a close must leave to end a position.", int, 10, 1, 1000),
        *STOPS,
    )

    @property
    def bars_needed(self) -> int:
        return max(int(self.settings["entry"]), int(self.settings["exit"])) + 1

    def on_bar(self, context: Context, bars: npt.NDArray[Any]) -> None:
        close, earlier, held = bars["close"][-1], bars[:-1], context.held
        if held is None:
            window = earlier[-self.settings["entry"] :]
            if close > window["high"].max():
                self.hold(context, Side.LONG)
            elif close < window["low"].min():
                self.hold(context, Side.SHORT)
            return
        window = earlier[-self.settings["exit"] :]
        left = close < window["low"].min() if held is Side.LONG else close > window["high"].max()
        if left:
            self.hold(context, None)

    def may_act(self, bars: npt.NDArray[Any], held: Side | None) -> npt.NDArray[np.bool_]:
        entry, leave, close = self.settings["entry"], self.settings["exit"], bars["close"]
        if held is None:
            return _beyond(close, bars["high"], entry) | _beyond(-close, -bars["low"], entry)
        return _beyond(-close, -bars["low"], leave) if held is Side.LONG else _beyond(close, bars["high"], leave)


def _beyond(close: npt.NDArray[Any], highs: npt.NDArray[Any], count: int) -> npt.NDArray[np.bool_]:
    """Where a close is above the highest of the `count` bars before it; True where there are fewer."""
    beyond = np.ones(len(close), np.bool_)
    if len(close) > count:
        highest = np.lib.stride_tricks.sliding_window_view(highs, count)[:-1].max(axis=1)
        beyond[count:] = close[count:] > highest
    return beyond
