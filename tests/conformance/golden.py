"""The market against a real terminal's own data: `python -m tests.conformance.golden`.

Measures how much of the terminal's bars our own bars match, and whether its ticks are served row for row.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from mt5_bridge.contract import CONSTANT_GROUPS
from mt5_bridge.simulated.market.bars import Array, aggregate, minute_bars
from mt5_bridge.simulated.market.history import HistoryFile, Layout, find_files, read_bars, read_ticks
from mt5_bridge.simulated.market.replay import replay_market

DATA = Path(__file__).parents[2].parent / "shared" / "market_data"
POINT = 1e-5
PRICES = ("open", "high", "low", "close")
FIELDS = (*PRICES, "tick_volume", "spread")
ALL_TICKS = -1


@dataclass(frozen=True)
class Measure:
    """How many of so many things are equal, and the share that must be."""

    name: str
    equal: int
    total: int
    least: float

    @property
    def share(self) -> float:
        """Equal of all, 0 without any."""
        return self.equal / self.total if self.total else 0.0

    @property
    def holds(self) -> bool:
        """Whether the share is what it must be."""
        return self.share >= self.least

    def __str__(self) -> str:
        verdict = "ok" if self.holds else "TOO LOW"
        return f"{self.name:<38} {self.equal}/{self.total} = {self.share:.4%} (at least {self.least:.2%}) {verdict}"


def newest(symbol: str, layout: Layout) -> HistoryFile:
    """The finest and newest file of a layout."""
    files = (file for file in find_files(DATA, symbol) if file.layout is layout)
    return min(files, key=lambda file: (file.step, -file.last_msc))


def minutes() -> Iterator[Measure]:
    """M1 bars of ticks against the terminal's own."""
    built = minute_bars(read_ticks(newest("EURUSD", Layout.MT5_TICKS)), POINT)
    real = read_bars(newest("EURUSD", Layout.MT5_BARS), POINT)
    real = real[(real["time"] >= built["time"][0]) & (real["time"] <= built["time"][-1])]
    same = np.intersect1d(built["time"], real["time"])
    yield Measure("M1 from ticks: bars that exist", len(same), max(len(built), len(real)), 1.0)
    built, real = built[np.isin(built["time"], same)], real[np.isin(real["time"], same)]
    equal = {name: built[name] == real[name] for name in FIELDS}
    prices = np.logical_and.reduce([equal[name] for name in PRICES])
    yield Measure("M1 from ticks: open, high, low, close", int(prices.sum()), len(same), 0.9999)
    yield Measure("M1 from ticks: tick_volume", int(equal["tick_volume"].sum()), len(same), 0.999)
    yield Measure("M1 from ticks: spread", int(equal["spread"].sum()), len(same), 0.995)


def timeframe(name: str) -> Measure:
    """Bars of a timeframe put together from M1 against the terminal's own, but the last one, which the file cuts."""
    label = name.removeprefix("TIMEFRAME_")
    table = pq.read_table(DATA / "mt5_bars_EURUSD_M2-MN1_2025.parquet", filters=[("timeframe", "=", label)])
    real = {column: np.asarray(table.column(column).to_numpy()) for column in ("time", *FIELDS)}
    built = aggregate(read_bars(newest("EURUSD", Layout.MT5_BARS), POINT), CONSTANT_GROUPS["TIMEFRAME"][name])
    asked = real["time"][:-1]
    place = np.searchsorted(built["time"], asked)
    found = (place < len(built)) & (built["time"][np.minimum(place, len(built) - 1)] == asked)
    equal = found.copy()
    rows = np.isin(real["time"], asked)
    for column in FIELDS:
        equal &= built[column][np.minimum(place, len(built) - 1)] == real[column][rows]
    return Measure(f"{label} from M1: all fields", int(equal.sum()), len(asked), 1.0)


def timeframes() -> Iterator[Measure]:
    """The 20 timeframes above M1."""
    for name in CONSTANT_GROUPS["TIMEFRAME"]:
        if name != "TIMEFRAME_M1":
            yield timeframe(name)


def replayed(symbol: str) -> Measure:
    """Rows of copy_ticks_range over a whole replay against those of the file."""
    ticks = read_ticks(newest(symbol, Layout.MT5_TICKS))
    market = replay_market(DATA, [symbol])
    market.release(int(ticks["time_msc"][-1]))
    served = market.series[symbol].ticks_range(int(ticks["time"][0]), int(ticks["time"][-1]), ALL_TICKS)
    return Measure(f"{symbol} ticks served row for row", _equal_rows(served, ticks), len(ticks), 1.0)


def _equal_rows(one: Array, other: Array) -> int:
    return int((one == other).sum()) if len(one) == len(other) else 0


def measures() -> Iterator[Measure]:
    """Everything that is measured."""
    yield from minutes()
    yield from timeframes()
    for symbol in ("EURUSD", "GBPUSD"):
        yield replayed(symbol)


def main() -> int:
    """Print the measures; 0 when all of them hold."""
    if not DATA.is_dir():
        sys.stdout.write(f"The market data are not at {DATA}.\n")
        return 2
    fine = True
    for measure in measures():
        sys.stdout.write(f"{measure}\n")
        fine &= measure.holds
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
