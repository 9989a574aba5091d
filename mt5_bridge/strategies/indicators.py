"""The indicators of the built-in strategies, by TA-Lib.

All take and give arrays of the same length, oldest first; where there are too few values before, they give NaN. Those
that remember all of their past (EMA, RSI, ATR, MACD) begin anew with the first value given: a strategy gives them the
same number of bars each time, so that a decision depends on these bars alone and not on when the bot was started.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mt5_bridge.strategies.base import UnableError

Values = npt.NDArray[np.float64]

WILDER_MEMORY: Final = 8
"""So many periods back a value's weight in RSI and ATR is below a thousandth."""
AVERAGE_MEMORY: Final = 4
"""The same for EMA and MACD."""


@cache
def _library() -> Any:
    try:
        import talib
    except ImportError as error:
        raise UnableError("this strategy needs TA-Lib; install mt5farm[strategies] on the node") from error
    return talib


def require() -> None:
    """Raises UnableError when the library is not installed."""
    _library()


def column(bars: npt.NDArray[Any], name: str) -> Values:
    """A column of bars as the indicators want it."""
    return np.ascontiguousarray(bars[name], np.float64)


def ema(values: Values, period: int) -> Values:
    """Exponential moving average, beginning with a simple one."""
    return np.asarray(_library().EMA(values, period))


def rsi(values: Values, period: int) -> Values:
    """Relative strength index after Wilder, 0 to 100."""
    return np.asarray(_library().RSI(values, period))


def bollinger(values: Values, period: int, width: float) -> tuple[Values, Values, Values]:
    """Upper band, middle and lower band: the average and `width` standard deviations to both sides."""
    upper, middle, lower = _library().BBANDS(values, period, width, width)
    return upper, middle, lower


def macd(values: Values, fast: int, slow: int, signal: int) -> tuple[Values, Values]:
    """The difference of two exponential averages, and its own exponential average."""
    line, smoothed, _ = _library().MACD(values, fast, slow, signal)
    return line, smoothed


def weighted(values: Values, weights: Values) -> Values:
    """At each place the sum of the newest values times the weights, newest first; NaN where there are too few."""
    sums = np.full(len(values), np.nan)
    if len(values) >= len(weights):
        sums[len(weights) - 1 :] = np.convolve(values, weights, "valid")
    return sums


def wilder_weights(period: int, count: int) -> Values:
    """What each of `count` values, newest first, weighs in Wilder's average that begins with the oldest."""
    weights = np.full(count, (1 - 1 / period) ** (count - period) / period)
    weights[: count - period] = (1 - 1 / period) ** np.arange(count - period) / period
    return weights


def macd_weights(count: int, fast: int, slow: int, signal: int) -> Values:
    """What each of `count` values, newest first, weighs in the difference of the last line and signal of `macd`."""
    weights = np.empty(count)
    for place, impulse in enumerate(np.eye(count)):
        line, smoothed = macd(impulse, fast, slow, signal)
        weights[count - 1 - place] = line[-1] - smoothed[-1]
    return weights


def atr(bars: npt.NDArray[Any], period: int) -> Values:
    """Average true range after Wilder, in price."""
    return np.asarray(_library().ATR(column(bars, "high"), column(bars, "low"), column(bars, "close"), period))
