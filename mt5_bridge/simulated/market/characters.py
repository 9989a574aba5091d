"""How the synthetic symbols move, measured on real brokers' data.

Forex after EURUSD, gold after XAUUSD and the index after DE30EUR; the share is a guess. Hours are those of a broker
whose midnight is the New York close. `tests/unit/mt5_bridge/simulated/market/test_statistics.py` holds the market to
the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mt5_bridge.simulated.market.bars import Array


@dataclass(frozen=True)
class Rhythm:
    """What each of the 24 hours of the broker's day has of the day's average: volatility and number of ticks."""

    volatility: tuple[float, ...]
    ticks: tuple[float, ...]

    def volatility_of(self, hours: Array) -> Array:
        """Factors for hours counted from a midnight; the mean of their squares over a day is 1."""
        factors = np.array(self.volatility)
        return np.asarray((factors / np.sqrt((factors**2).mean()))[hours % 24])

    def ticks_of(self, hour: int) -> float:
        """Factor for one hour; the mean over a day is 1."""
        return self.ticks[hour % 24] / (sum(self.ticks) / 24)


def _hours(numbers: str) -> tuple[float, ...]:
    return tuple(float(number) for number in numbers.split())


_FOREX = Rhythm(
    _hours(
        "0.78 0.78 0.7 0.9 0.79 0.66 0.58 0.55 0.68 1.0 1.19 1.13 "
        "0.94 0.98 1.04 1.64 1.38 1.52 1.29 1.01 0.98 0.93 0.75 0.77"
    ),
    _hours(
        "0.25 0.49 0.57 0.95 0.92 0.72 0.6 0.59 0.75 1.19 1.42 1.29 "
        "1.11 1.03 1.13 1.64 1.76 1.91 1.5 1.13 0.92 0.88 0.74 0.5"
    ),
)
_GOLD = Rhythm(
    _hours(
        "0.3 0.84 0.57 0.83 1.08 0.87 0.68 0.63 0.79 0.91 0.9 0.87 "
        "0.81 0.79 0.86 1.74 1.74 1.73 1.3 1.01 0.94 0.9 0.82 0.55"
    ),
    _hours(
        "0.1 0.35 0.41 0.86 1.21 0.93 0.71 0.63 0.9 1.14 1.12 1.05 "
        "0.92 0.9 0.99 1.72 2.08 2.09 1.62 1.21 1.07 0.89 0.81 0.38"
    ),
)
_INDEX = Rhythm(
    _hours(
        "0.3 0.3 0.75 0.62 0.51 0.68 0.5 0.56 0.59 1.33 1.87 1.76 "
        "1.38 1.1 1.2 1.14 1.32 1.44 1.2 0.63 0.5 0.92 0.72 0.3"
    ),
    _hours("0.1 0.1 0.4 0.4 0.4 0.5 0.5 0.5 0.7 1.4 1.9 1.8 1.5 1.3 1.3 1.4 1.6 1.7 1.5 1.0 0.8 0.9 0.7 0.2"),
)
_STOCK = Rhythm(
    _hours("1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 2.6 2.0 1.4 1.1 1.0 1.1 1.5 1"),
    _hours("1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 2.4 1.9 1.3 1.1 1.0 1.1 1.8 1"),
)
_EVEN = Rhythm((1.0,) * 24, (1.0,) * 24)


@dataclass(frozen=True)
class Character:
    """How a symbol moves: first price, volatility of a day (share of the price), ticks a second, spread in points.

    `spreads` are the spreads of hours that differ from the others, above all the first after the New York close.
    """

    price: float
    daily_volatility: float
    ticks_a_second: float
    spread: float
    rhythm: Rhythm = _FOREX
    spreads: Mapping[int, float] = field(default_factory=dict)

    def spread_of(self, hour: int) -> float:
        """Usual spread (points) in an hour counted from a midnight."""
        return self.spreads.get(hour % 24, self.spread)


_NIGHT = dict.fromkeys((2, 3, 4, 5, 6, 7, 8), 58.0)
_EVENING = dict.fromkeys((18, 19, 20, 21, 22), 22.0)
CHARACTERS = {
    "EURUSD": Character(1.1000, 0.0052, 1.25, 0.3, spreads={0: 37.0, 1: 1.3, 23: 2.5}),
    "GBPUSD": Character(1.2700, 0.0043, 1.35, 1.2, spreads={0: 90.0, 1: 5.0, 23: 5.0}),
    "USDJPY": Character(150.00, 0.0075, 0.9, 2.5, spreads={0: 13.0, 23: 6.0}),
    "XAUUSD": Character(2400.0, 0.0088, 2.0, 5.5, _GOLD, {1: 7.3, 2: 6.5, 23: 7.1}),
    "BTCUSD": Character(60000.0, 0.0280, 1.0, 1500.0, _EVEN),
    "AAPL": Character(230.0, 0.0150, 1.5, 1.0, _STOCK),
    "DE40": Character(18500.0, 0.0080, 0.9, 12.8, _INDEX, _NIGHT | _EVENING),
}
UNKNOWN = Character(100.0, 0.0100, 0.5, 5.0, _EVEN)
