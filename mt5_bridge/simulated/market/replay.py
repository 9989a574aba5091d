"""Replay of history: real ticks, or ticks made of bars (`bar_ticks.py` describes the path inside a bar).

The bars that clients see are the file's own when it holds minutes. Rows are kept in mapped files, and ticks of bars are
made shortly before they are needed, so a long history takes no more memory than a short one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy.typing as npt
import pyarrow as pa

from mt5_bridge.simulated.market.bar_ticks import BarTicks
from mt5_bridge.simulated.market.bars import MINUTE, Array, minute_bars_of
from mt5_bridge.simulated.market.calendar import ALWAYS, DAY
from mt5_bridge.simulated.market.history import (
    BATCH_ROWS,
    HistoryError,
    HistoryFile,
    Layout,
    bar_batches,
    decimals,
    find_files,
    tick_batches,
)
from mt5_bridge.simulated.market.market import Market
from mt5_bridge.simulated.market.series import Series
from mt5_bridge.simulated.market.spill import Spill
from mt5_bridge.simulated.symbols import SymbolSpec, specification
from mt5_bridge.structs import RATES_DTYPE, TICKS_DTYPE

_BELONGS_MSC = 7 * DAY * 1000
"""Bars that end longer than this before the first tick are of another time and no history of it."""
_SHORTEST_MSC = 3_600_000
_CANDIDATES = 6


class BarSource:
    """Makes the ticks of bars as they are needed; those of tick files are all there from the start."""

    def __init__(self, makers: Mapping[str, BarTicks]) -> None:
        self._makers = makers

    def extend(self, series: Mapping[str, Series], until_msc: int) -> None:
        """Give the series of bars their ticks up to `until_msc` and the next ones."""
        for name, maker in self._makers.items():
            maker.extend(series[name], until_msc)


class _Loader:
    """Turns files into series whose rows lie in mapped files in `folder`."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.makers: dict[str, BarTicks] = {}

    def series(self, file: HistoryFile, files: Sequence[HistoryFile], spec: SymbolSpec) -> Series:
        """The series of the symbol, with `file` as what is replayed and the others as what came before."""
        if not file.layout.is_ticks:
            return self._series_of_bars(file, spec)
        ticks = self._spill(tick_batches(file), TICKS_DTYPE, "time_msc")
        pieces = (ticks.rows[start : start + BATCH_ROWS] for start in range(0, len(ticks.rows), BATCH_ROWS))
        minutes = minute_bars_of(pieces, spec.point)
        earlier = earlier_bars(files, file.first_msc, spec.point)
        return self._mapped(spec, self._spill(itertools.chain(earlier, minutes), RATES_DTYPE, "time"), ticks)

    def _series_of_bars(self, file: HistoryFile, spec: SymbolSpec) -> Series:
        bars = self._spill(bar_batches(file, spec.point), RATES_DTYPE, "time")
        maker = BarTicks(bars.rows, bars.times, file.step or MINUTE, spec.point)
        self.makers[spec.name] = maker
        if file.step > MINUTE:
            blocks = (maker.block(start, stop) for start, stop in maker.blocks())
            bars = self._spill(minute_bars_of(blocks, spec.point), RATES_DTYPE, "time")
        return self._mapped(spec, bars, Spill((), TICKS_DTYPE, "time_msc", self._folder))

    def _spill(self, batches: Iterable[Array], dtype: npt.DTypeLike, column: str) -> Spill:
        return Spill(batches, dtype, column, self._folder)

    @staticmethod
    def _mapped(spec: SymbolSpec, bars: Spill, ticks: Spill) -> Series:
        def rest() -> None:
            bars.rest()
            ticks.rest()

        rest()
        return Series(spec.point, ticks.rows, bars.rows, times=ticks.times, opens=bars.times, rest=rest)


def earlier_bars(files: Sequence[HistoryFile], first_msc: int, point: float) -> Iterator[Array]:
    """Minute bars before the first tick, from the file that leads up to it."""
    leading = [
        one
        for one in files
        if one.layout is Layout.MT5_BARS
        and one.step == MINUTE
        and one.first_msc < first_msc < one.last_msc + _BELONGS_MSC
    ]
    for bars in bar_batches(leading[0], point) if leading else ():
        yield bars[bars["time"] < first_msc // 60_000 * MINUTE]


def ranked(candidates: Sequence[HistoryFile]) -> list[HistoryFile]:
    """Files of one symbol, the most faithful and newest first."""
    return sorted(candidates, key=lambda file: (file.layout, file.step, -file.last_msc))


def _choose(files: Mapping[str, Sequence[HistoryFile]]) -> dict[str, HistoryFile]:
    """One file for each symbol: the most faithful ones that share a stretch of time."""
    best_of_each = [ranked(candidates)[:_CANDIDATES] for candidates in files.values()]
    shared = [
        choice
        for choice in itertools.product(*best_of_each)
        if min(file.last_msc for file in choice) - max(file.first_msc for file in choice) >= _SHORTEST_MSC
    ]
    if not shared:
        raise HistoryError(
            f"The history files of {', '.join(files)} share no hour of time; replay symbols whose files overlap."
        )
    best = min(shared, key=lambda choice: sum(file.layout * 10 + (file.step > MINUTE) for file in choice))
    return dict(zip(files, best, strict=True))


def replay_market(
    folder: Path, symbols: Sequence[str], resume_msc: int | None = None, spill_folder: Path | None = None
) -> Market:
    """A market that replays the files of `symbols` in `folder`; it opens there or goes on from `resume_msc`.

    It opens at the first moment at which all symbols have a tick; what came before is history. The rows lie in unnamed
    files in `spill_folder`, which needs 60 bytes a row (None: the system's temporary folder), so the memory needed does
    not grow with the history. Raises HistoryError, OSError when the disk is full.
    """
    if not symbols:
        raise HistoryError("A replay needs the names of its symbols; add for example --symbols EURUSD,GBPUSD.")
    files = {symbol: find_files(folder, symbol) for symbol in symbols}
    chosen = _choose(files)
    # Files come on any clock, so their own ticks say when the market is open.
    specs = [replace(specification(symbol, decimals(chosen[symbol])), sessions=ALWAYS) for symbol in symbols]
    loader = _Loader(spill_folder)
    series = {spec.name: loader.series(chosen[spec.name], files[spec.name], spec) for spec in specs}
    pa.default_memory_pool().release_unused()  # the reader's buffers are no longer needed
    begin_msc = max(*(file.first_msc for file in chosen.values()), resume_msc or 0)
    for maker in loader.makers.values():
        maker.begin(begin_msc)
    identity = "replay " + ",".join(f"{symbol}={chosen[symbol].path.name}" for symbol in symbols)
    return Market(specs, series, BarSource(loader.makers), begin_msc, identity)
