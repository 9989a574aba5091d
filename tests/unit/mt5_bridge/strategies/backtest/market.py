"""Small markets and strategies for tests of the backtest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from mt5_bridge.simulated.symbols import specification
from mt5_bridge.strategies.backtest.recording import Recording, of_bars
from mt5_bridge.strategies.backtest.run import Settings
from mt5_bridge.strategies.base import Context, Parameter, Strategy
from mt5_bridge.structs import RATES_DTYPE

START = 1_700_006_400  # midnight
M1 = 1


def wandering(count: int, seed: int = 1, step: int = 60) -> Recording:
    """A random walk of EURUSD in bars."""
    random = np.random.default_rng(seed)
    bars = np.zeros(count, RATES_DTYPE)
    points = 110_000 + np.cumsum(random.integers(-9, 10, count + 1))
    bars["time"] = START + step * np.arange(count)
    bars["open"], bars["close"] = points[:-1] / 1e5, points[1:] / 1e5
    bars["high"] = (np.maximum(points[:-1], points[1:]) + random.integers(0, 8, count)) / 1e5
    bars["low"] = (np.minimum(points[:-1], points[1:]) - random.integers(0, 8, count)) / 1e5
    bars["tick_volume"], bars["spread"] = 4, random.integers(1, 9, count)
    return of_bars(bars, specification("EURUSD"), "wandering", step)


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {"symbol": "EURUSD", "timeframe": M1, "volume": 0.1} | changes
    return Settings(**values)


class Scripted(Strategy):
    """Does at each bar what a test says."""

    name: ClassVar[str] = "scripted"
    title: ClassVar[str] = "Scripted"
    help: ClassVar[str] = ""
    parameters: ClassVar[tuple[Parameter, ...]] = ()

    def __init__(self, act: Callable[[Context, Any], None], needed: int = 1) -> None:
        super().__init__({})
        self._act = act
        self._needed = needed
        self.deals: list[Any] = []
        self.calls: list[str] = []

    @property
    def bars_needed(self) -> int:
        return self._needed

    def on_start(self, context: Context) -> None:
        self.calls.append("start")

    def on_bar(self, context: Context, bars: Any) -> None:
        self.calls.append("bar")
        self._act(context, bars)

    def on_stop(self, context: Context) -> None:
        self.calls.append("stop")


class Listening(Scripted):
    """Is told of its deals, too."""

    def on_trade(self, context: Context, deal: Any) -> None:
        self.deals.append(deal)
