"""What a backtest plays: one symbol's ticks, and the minute bars that clients would see with them.

The files, the ticks made of bars (`simulated/market/bar_ticks.py` has the path inside a bar) and the bars made of ticks
are those of a replay by the simulated broker, so that both see one market.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from mt5_bridge.simulated.market.bar_ticks import BarTicks
from mt5_bridge.simulated.market.bars import MINUTE, Array, minute_bars_of
from mt5_bridge.simulated.market.calendar import ALWAYS
from mt5_bridge.simulated.market.history import (
    HistoryError,
    HistoryFile,
    decimals,
    find_files,
    inspect_file,
    read_bars,
    read_ticks,
)
from mt5_bridge.simulated.market.replay import earlier_bars, ranked
from mt5_bridge.simulated.symbols import SymbolSpec, specification

_BLOCK_TICKS: Final = 65_536
_BLOCK_BARS: Final = 5760
_KEPT_BARS: Final = 400_000
"""Their ticks take less than 100 MB."""
SOURCES: Final = ("auto", "ticks", "bars")


@dataclass(frozen=True)
class Recording:
    """One symbol's history. Times are the file's clock, which is taken for the broker's."""

    spec: SymbolSpec
    bars: Array
    """Minute bars (RATES_DTYPE), what came before the first tick included."""
    name: str
    """The file it was read from."""
    digest: str
    """Of all ticks, or of all bars they are made of."""
    ticks: Array | None = field(default=None, repr=False)
    maker: BarTicks | None = field(default=None, repr=False)
    bounds: tuple[int, int] = (0, 0)
    """Time (ms) of the first and the last tick."""

    def blocks(self, first_msc: int, last_msc: int) -> Iterator[Array]:
        """The ticks (TICKS_DTYPE) from one time to another, both inclusive; ticks of one moment stay together."""
        for block in self._of_ticks(self.ticks) if self.ticks is not None else self._of_bars():
            times = block["time_msc"]
            if int(times[-1]) < first_msc:
                continue
            if int(times[0]) > last_msc:
                return
            cut = block[np.searchsorted(times, first_msc) : np.searchsorted(times, last_msc, "right")]
            if len(cut):
                yield cut

    def kept(self) -> Recording:
        """The same with its ticks in memory, for those who play it again and again; itself when that is too much."""
        if self.ticks is not None or len(self.bars) > _KEPT_BARS:
            return self
        return replace(self, ticks=np.concatenate(list(self._of_bars())), maker=None)

    @staticmethod
    def _of_ticks(ticks: Array) -> Iterator[Array]:
        times = np.ascontiguousarray(ticks["time_msc"])
        start = 0
        while start < len(ticks):
            last = times[min(start + _BLOCK_TICKS, len(ticks)) - 1]
            stop = int(np.searchsorted(times, last, "right"))
            yield ticks[start:stop]
            start = stop

    def _of_bars(self) -> Iterator[Array]:
        if self.maker is not None:
            for start, stop in self.maker.blocks(_BLOCK_BARS):
                yield self.maker.block(start, stop)


def load(history: Path, symbol: str, source: str = "auto") -> Recording:
    """Read the best file of a symbol in a folder, or a file. `source` is one of `SOURCES`. Raises HistoryError."""
    files = [inspect_file(history)] if history.is_file() else find_files(history, symbol)
    wanted = [file for file in ranked(files) if source == "auto" or file.layout.is_ticks is (source == "ticks")]
    if not wanted:
        raise HistoryError(f"{history} has no {source} of {symbol}; leave --source out to take what there is.")
    file = wanted[0]
    # Files come on any clock, so their own ticks say when the market is open.
    spec = replace(specification(symbol, decimals(file)), sessions=ALWAYS)
    if file.layout.is_ticks:
        return _of_ticks(file, files, spec)
    return of_bars(read_bars(file, spec.point), spec, file.path.name, file.step or MINUTE)


def _of_ticks(file: HistoryFile, files: list[HistoryFile], spec: SymbolSpec) -> Recording:
    ticks = read_ticks(file)
    bars = np.concatenate([*earlier_bars(files, file.first_msc, spec.point), *minute_bars_of([ticks], spec.point)])
    bounds = (int(ticks["time_msc"][0]), int(ticks["time_msc"][-1]))
    return Recording(spec, bars, file.path.name, _digest(ticks), ticks=ticks, bounds=bounds)


def of_bars(bars: Array, spec: SymbolSpec, name: str, step: int = MINUTE) -> Recording:
    """A recording of bars (RATES_DTYPE, ascending) that are `step` seconds long."""
    maker = BarTicks(bars, np.ascontiguousarray(bars["time"]), step, spec.point)
    minutes = bars
    if step > MINUTE:
        minutes = np.concatenate(
            list(minute_bars_of((maker.block(start, stop) for start, stop in maker.blocks()), spec.point))
        )
    bounds = (int(bars["time"][0]) * 1000, (int(bars["time"][-1]) + step) * 1000)
    return Recording(spec, minutes, name, _digest(bars), maker=maker, bounds=bounds)


def _digest(rows: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()[:16]
