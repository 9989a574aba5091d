"""RSI reversion: buys when the market comes back from oversold, sells when it comes back from overbought."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from mt5_bridge.strategies import indicators
from mt5_bridge.strategies.base import STOPS, Context, Parameter, ParameterError, Side, Strategy

_DOUBT: Final = 1e-6
"""Points of the index by which sums that were made in another order may differ, many times over."""
_STILL: Final = 1e-11
"""Up to this average change of the price the index may be taken for that of a market that stands still."""


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

    def may_act(self, bars: npt.NDArray[Any], held: Side | None) -> npt.NDArray[np.bool_]:
        changes = np.diff(indicators.column(bars, "close"), prepend=np.nan)
        now = self._index(changes, self.bars_needed - 1)
        low, middle, high = (self.settings[name] for name in ("oversold", "exit", "overbought"))
        if held is not None:
            return np.asarray(~(now < middle - _DOUBT) if held is Side.LONG else ~(now > middle + _DOUBT))
        # The index of the bar before, as seen from the same window.
        before = np.concatenate(([np.nan], self._index(changes, self.bars_needed - 2)[:-1]))
        rises = ~(before > low + _DOUBT) & ~(now < low - _DOUBT)
        falls = ~(before < high - _DOUBT) & ~(now > high + _DOUBT)
        return np.asarray(rises | falls)

    def _index(self, changes: indicators.Values, count: int) -> indicators.Values:
        """The RSI of the newest `count` changes at each place; NaN where there are too few, or none that matters."""
        weights = indicators.wilder_weights(self.settings["period"], count)
        gains, losses = (
            indicators.weighted(np.where(changes > 0, changes, 0.0), weights) for changes in (changes, -changes)
        )
        moved = gains + losses
        return np.where(moved > _STILL, 100 * gains / np.where(moved > _STILL, moved, 1.0), np.nan)
