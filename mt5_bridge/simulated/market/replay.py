"""Replay of history: real ticks, or ticks made of bars.

Inside a bar the path is open, then the extreme nearer to the open, then the other extreme, then close, at the bar's
start, one third, two thirds and one second before its end; the ask is the bid plus the bar's spread. The bars that
clients see are the file's own when it holds minutes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from mt5_bridge.simulated.market.bars import MINUTE, Array, minute_bars
from mt5_bridge.simulated.market.calendar import ALWAYS, DAY
from mt5_bridge.simulated.market.history import (
    HistoryError,
    HistoryFile,
    Layout,
    decimals,
    find_files,
    read_bars,
    read_ticks,
)
from mt5_bridge.simulated.market.market import Market, NothingMore
from mt5_bridge.simulated.market.series import Series
from mt5_bridge.simulated.market.synthetic import tick_flags
from mt5_bridge.simulated.symbols import SymbolSpec, specification
from mt5_bridge.structs import RATES_DTYPE, TICKS_DTYPE

_BELONGS_MSC = 7 * DAY * 1000
"""Bars that end longer than this before the first tick are of another time and no history of it."""
_SHORTEST_MSC = 3_600_000
_CANDIDATES = 6


def ticks_of_bars(bars: Array, step: int, point: float) -> Array:
    """Four ticks for each bar of `step` seconds, along the path that the module describes."""
    count = len(bars)
    low_first = bars["open"] - bars["low"] <= bars["high"] - bars["open"]
    bid = np.empty((count, 4))
    bid[:, 0] = bars["open"]
    bid[:, 1] = np.where(low_first, bars["low"], bars["high"])
    bid[:, 2] = np.where(low_first, bars["high"], bars["low"])
    bid[:, 3] = bars["close"]
    offsets = np.array([0, step * 1000 // 3, step * 2000 // 3, step * 1000 - 1000])
    ticks = np.zeros(count * 4, TICKS_DTYPE)
    ticks["time_msc"] = (bars["time"][:, None] * 1000 + offsets).ravel()
    ticks["time"] = ticks["time_msc"] // 1000
    ticks["bid"] = bid.ravel()
    # Through whole points, so that the ask is the nearest float to its decimal form, as the bid is.
    points = np.rint(ticks["bid"] / point) + np.repeat(np.maximum(bars["spread"], 0), 4)
    ticks["ask"] = points / round(1 / point)
    ticks["flags"] = tick_flags(ticks["bid"], ticks["ask"])
    keep = ticks["flags"] != 0
    keep[::4] = True  # a bar's first tick opens its minute even when the price stands still
    ticks["flags"] = np.where(ticks["flags"] == 0, np.uint32(130), ticks["flags"])
    return np.asarray(ticks[keep])


def _series(file: HistoryFile, files: Sequence[HistoryFile], spec: SymbolSpec) -> Series:
    if not file.layout.is_ticks:
        bars = read_bars(file, spec.point)
        ticks = ticks_of_bars(bars, file.step or MINUTE, spec.point)
        return Series(spec.point, ticks, bars if file.step == MINUTE else minute_bars(ticks, spec.point))
    ticks = read_ticks(file)
    bars = minute_bars(ticks, spec.point)
    return Series(spec.point, ticks, np.concatenate((_earlier(files, file.first_msc, spec.point), bars)))


def _earlier(files: Sequence[HistoryFile], first_msc: int, point: float) -> Array:
    """Minute bars before the first tick, from the file that leads up to it."""
    leading = [
        one
        for one in files
        if one.layout is Layout.MT5_BARS
        and one.step == MINUTE
        and one.first_msc < first_msc < one.last_msc + _BELONGS_MSC
    ]
    if not leading:
        return np.empty(0, RATES_DTYPE)
    bars = read_bars(leading[0], point)
    return bars[bars["time"] < first_msc // 60_000 * MINUTE]


def _choose(files: Mapping[str, Sequence[HistoryFile]]) -> dict[str, HistoryFile]:
    """One file for each symbol: the most faithful ones that share a stretch of time."""
    ranked = [
        sorted(candidates, key=lambda file: (file.layout, file.step, -file.last_msc))[:_CANDIDATES]
        for candidates in files.values()
    ]
    shared = [
        choice
        for choice in itertools.product(*ranked)
        if min(file.last_msc for file in choice) - max(file.first_msc for file in choice) >= _SHORTEST_MSC
    ]
    if not shared:
        raise HistoryError(
            f"The history files of {', '.join(files)} share no hour of time; replay symbols whose files overlap."
        )
    best = min(shared, key=lambda choice: sum(file.layout * 10 + (file.step > MINUTE) for file in choice))
    return dict(zip(files, best, strict=True))


def replay_market(folder: Path, symbols: Sequence[str]) -> Market:
    """A market that replays the files of `symbols` in `folder`.

    It opens at the first moment at which all symbols have a tick; what came before is history. Raises HistoryError.
    """
    if not symbols:
        raise HistoryError("A replay needs the names of its symbols; add for example --symbols EURUSD,GBPUSD.")
    files = {symbol: find_files(folder, symbol) for symbol in symbols}
    chosen = _choose(files)
    # Files come on any clock, so their own ticks say when the market is open.
    specs = [replace(specification(symbol, decimals(chosen[symbol])), sessions=ALWAYS) for symbol in symbols]
    series = {spec.name: _series(chosen[spec.name], files[spec.name], spec) for spec in specs}
    pa.default_memory_pool().release_unused()  # the reader's buffers are as large as the data
    start_msc = max(file.first_msc for file in chosen.values())
    identity = "replay " + ",".join(f"{symbol}={chosen[symbol].path.name}" for symbol in symbols)
    return Market(specs, series, NothingMore(), start_msc, identity)
