"""A seeded synthetic market.

Each hour of each symbol is made on its own from (seed, symbol, hour), so any hour can be made again in any order: the
price at full hours is a random walk, and inside an hour the ticks are a Brownian bridge between its two ends. Spreads,
volatility and the number of ticks are those of the real instruments (`characters.py`), with the day's rhythm, stretches
of calm and wild hours, and the long tails of real minutes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from mt5_bridge.simulated.market.bars import TRADE_FLAGS, Array, minute_bars
from mt5_bridge.simulated.market.calendar import DAY, WEEK, monday_of
from mt5_bridge.simulated.market.characters import CHARACTERS, UNKNOWN
from mt5_bridge.simulated.market.market import Market
from mt5_bridge.simulated.market.series import Series
from mt5_bridge.simulated.symbols import SymbolSpec, specification
from mt5_bridge.structs import TICKS_DTYPE

HOUR = 3600
HOUR_MSC = HOUR * 1000
DEFAULT_SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY", "XAUUSD", "DE40")
"""All of them rest at the weekend, so that the clock can jump over it. BTCUSD, which never rests, comes on request."""
HISTORY_HOURS = 14 * 24
"""Two weeks before the start: more than 3000 minute bars of every symbol."""
KEEP_TICKS_MSC = 3 * 24 * HOUR_MSC
KEEP_BARS = 200_000
_LOOK_AHEAD_MSC = 80 * HOUR_MSC  # farther than any weekend

_MOOD_MEMORY, _MOOD_SIZE = 0.92, 0.5
_REST = 0.21
"""Volatility of an hour of a day without sessions: a weekend moves prices by 0.3 of what a day does, as in the data."""
_MINUTE_SIZE = 0.55
_TICKS_WITH_OTHER_SPREAD = 0.15
_TICKS_WITH_DEALS, _DEAL_SIZE = 0.3, 0.02
BUY_DEAL, SELL_DEAL = 32, 64
"""Flags of a tick: the side of the deal that it tells of."""


def synthetic_symbols() -> frozenset[str]:
    """The symbols that have a character of their own."""
    return frozenset(CHARACTERS)


class Walk:
    """The price path of one symbol, made hour by hour from a fixed first hour."""

    def __init__(self, spec: SymbolSpec, seed: int, origin: int) -> None:
        self._spec = spec
        self._character = CHARACTERS.get(spec.name, UNKNOWN)
        self._seed = (seed, zlib.crc32(spec.name.encode()))
        self._origin = origin
        self._ends = np.zeros(1)
        self._moods = np.ones(1)
        self._mood = 0.0
        self._steps = np.random.default_rng((*self._seed, 0))

    def _reach(self, hour: int) -> None:
        """Walk until the price (logarithm) at the start of `hour`, counted from the origin, and its mood are known."""
        while len(self._ends) <= hour:
            index = np.arange(len(self._ends) - 1, len(self._ends) + 1023)
            moods = self._next_moods(len(index))
            sigma = self._character.daily_volatility * self._volatility_of(index) / np.sqrt(24)
            steps = self._steps.normal(0.0, 1.0, len(index)) * sigma * moods
            # A faint pull towards the first price keeps years of walking in a believable range.
            values = np.empty(len(index))
            level = float(self._ends[-1])
            for position, step in enumerate(steps):
                level = level * 0.9995 + float(step)
                values[position] = level
            self._ends = np.concatenate((self._ends, values))
            self._moods = np.concatenate((self._moods[:-1], moods, moods[-1:]))

    def _volatility_of(self, hours: Array) -> Array:
        """Factors for hours counted from the origin, which is a midnight."""
        days, of_hour = np.unique((self._origin + hours * HOUR) // DAY, return_inverse=True)
        trades = np.array([bool(self._spec.quoted.on(int(day))) for day in days])[of_hour]
        return np.where(trades, self._character.rhythm.volatility_of(hours), _REST)

    def _next_moods(self, count: int) -> Array:
        """Factors of volatility, one an hour: calm and wild stretches last for hours, the mean of the squares is 1."""
        logs = np.empty(count)
        shocks = self._steps.normal(0.0, np.sqrt(1 - _MOOD_MEMORY**2), count)
        for position, shock in enumerate(shocks):
            self._mood = self._mood * _MOOD_MEMORY + float(shock)
            logs[position] = self._mood
        return np.asarray(np.exp(_MOOD_SIZE * logs - _MOOD_SIZE**2))

    def hour(self, hour: int) -> Array:
        """The ticks of the hour `hour` after the origin, without those outside the sessions."""
        self._reach(hour + 1)
        rng = np.random.default_rng((*self._seed, 1, hour))
        character = self._character
        count = max(2, int(rng.poisson(character.ticks_a_second * HOUR * character.rhythm.ticks_of(hour))))
        offsets = np.sort(rng.integers(0, HOUR_MSC, count))
        minutes = offsets // 60_000
        # Some minutes are wild: this is what gives minute bars the long tails of real ones.
        wild = np.exp(_MINUTE_SIZE * rng.normal(0.0, 1.0, 60) - _MINUTE_SIZE**2)[minutes]
        hourly = character.daily_volatility * float(character.rhythm.volatility_of(np.array([hour]))[0]) / np.sqrt(24)
        walk = np.cumsum(rng.normal(0.0, hourly * float(self._moods[hour]) / np.sqrt(count), count) * wild)
        share = np.cumsum(wild**2)
        share /= share[-1]
        first, last = self._ends[hour], self._ends[hour + 1]
        mid = character.price * np.exp(first + walk + share * (last - first - walk[-1]))
        ticks = self._quotes((self._origin + hour * HOUR) * 1000 + offsets, mid, self._spreads(rng, hour, minutes))
        return with_deals(ticks, rng, self._spec) if self._spec.on_exchange else ticks

    def _spreads(self, rng: np.random.Generator, hour: int, minutes: Array) -> Array:
        """Spreads in points: each minute has its own, and a few of its ticks a wider one."""
        usual = rng.poisson(self._character.spread_of(hour), 60)[minutes]
        wider = (rng.random(len(minutes)) < _TICKS_WITH_OTHER_SPREAD) * rng.integers(1, 3, len(minutes))
        return np.asarray(np.maximum(usual, 1) + wider)

    def _quotes(self, moments: Array, mid: Array, spread: Array) -> Array:
        spec = self._spec
        scale = 10**spec.digits
        bid_points = np.rint(mid * scale - spread / 2).astype(np.int64)
        ask_points = bid_points + spread
        ticks = np.zeros(len(moments), TICKS_DTYPE)
        ticks["time_msc"] = moments
        ticks["time"] = moments // 1000
        ticks["bid"] = bid_points / scale
        ticks["ask"] = ask_points / scale
        ticks["flags"] = tick_flags(ticks["bid"], ticks["ask"])
        return np.asarray(ticks[(ticks["flags"] != 0) & spec.quoted.open_mask(moments)])


def tick_flags(bid: Array, ask: Array) -> Array:
    """Flags as a real terminal gives them: 130 bid changed, 4 ask changed, 134 both, 0 nothing."""
    bid_changed = np.concatenate(([True], bid[1:] != bid[:-1]))
    ask_changed = np.concatenate(([True], ask[1:] != ask[:-1]))
    return np.asarray(bid_changed * 130 + ask_changed * 4, dtype=np.uint32)


def with_deals(ticks: Array, rng: np.random.Generator, spec: SymbolSpec) -> Array:
    """The ticks of quotes with deals on some of them: at the ask where somebody buys, at the bid where one sells.

    The flags say last, volume and side of a deal; between deals the last one's price and volume stay (rule F3).
    """
    if not len(ticks):
        return ticks
    is_deal = rng.random(len(ticks)) < _TICKS_WITH_DEALS
    is_deal[0] = True
    buys = rng.random(len(ticks)) < 0.5
    volumes = rng.geometric(_DEAL_SIZE, len(ticks)) * spec.volume_step
    latest = np.maximum.accumulate(np.where(is_deal, np.arange(len(ticks)), 0))
    ticks["last"] = np.where(buys, ticks["ask"], ticks["bid"])[latest]
    ticks["volume_real"] = volumes[latest]
    ticks["volume"] = np.rint(ticks["volume_real"])
    ticks["flags"] |= np.where(is_deal, TRADE_FLAGS | np.where(buys, BUY_DEAL, SELL_DEAL), 0).astype(np.uint32)
    return ticks


class SyntheticSource:
    """Makes hours of ticks shortly before they are needed."""

    def __init__(self, walks: Mapping[str, Walk], origin: int, first_hour: int) -> None:
        self._walks = walks
        self._origin = origin
        self._next_hour = first_hour

    def extend(self, series: Mapping[str, Series], until_msc: int) -> None:
        """Make all hours up to `until_msc`, and more until some symbol has a tick ahead."""
        limit = until_msc + _LOOK_AHEAD_MSC
        while True:
            begins = (self._origin + self._next_hour * HOUR) * 1000
            ahead = any(one.next_time_msc is not None for one in series.values())
            if begins > limit or (begins > until_msc and ahead):
                return
            for name, walk in self._walks.items():
                ticks = walk.hour(self._next_hour)
                bars = _bars(ticks, specification(name))
                keep_from = until_msc - KEEP_TICKS_MSC
                if len(ticks):
                    series[name].extend(ticks, bars, keep_ticks_from_msc=keep_from, keep_bars=KEEP_BARS)
            self._next_hour += 1


def _bars(ticks: Array, spec: SymbolSpec) -> Array:
    return minute_bars(ticks, spec.point, of_last=bool(spec.chart_mode))


def _history(walk: Walk, spec: SymbolSpec, first_hour: int, end_hour: int) -> Series:
    """The hours before the market opens: bars of all of them, ticks of the last days."""
    hours = [walk.hour(hour) for hour in range(first_hour, end_hour)]
    bars = np.concatenate([_bars(ticks, spec) for ticks in hours])
    ticks = np.concatenate(hours[-KEEP_TICKS_MSC // HOUR_MSC :])
    return Series(spec.point, ticks, bars, of_last=bool(spec.chart_mode))


def default_start(now: int) -> int:
    """Monday 00:00 of the current week, at the weekend of the week that just ended (seconds of the broker's clock)."""
    return monday_of(now)


def synthetic_market(symbols: Sequence[str], seed: int, start: int, resume_msc: int | None = None) -> Market:
    """A market that opens at `start` (s), or goes on from `resume_msc` (ms), with two weeks of history before it."""
    specs = [specification(name) for name in symbols]
    origin = start - 4 * WEEK
    walks = {spec.name: Walk(spec, seed, origin) for spec in specs}
    begin_msc = max(start * 1000, resume_msc or 0)
    first_hour = (begin_msc // 1000 - origin) // HOUR
    series = {spec.name: _history(walks[spec.name], spec, first_hour - HISTORY_HOURS, first_hour) for spec in specs}
    source = SyntheticSource(walks, origin, first_hour)
    identity = f"synthetic seed={seed} start={start} symbols={','.join(symbols)}"
    return Market(specs, series, source, begin_msc, identity)
