"""Reading history files: Parquet with ticks or bars in the layouts that terminals and data vendors give.

The columns tell the layout, the file name tells the symbol (one of its parts between `_`, `-` and `.`):

    ticks     time_msc, bid, ask [, flags, last, volume, volume_real]     as copy_ticks_* gives them
    bars      time, open, high, low, close [, tick_volume, spread, real_volume]    as copy_rates_* gives them;
              with a column timeframe ('M2' .. 'MN1') for bars of several lengths in one file
    quotes    time, bid_open .. bid_close, ask_open .. ask_close

Times are taken as they are: the file's clock becomes the broker's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.simulated.market.synthetic import tick_flags
from mt5_bridge.structs import RATES_DTYPE, TICKS_DTYPE

_MT5_TICK_FIELDS = ("bid", "ask", "last", "volume", "time_msc", "flags", "volume_real")
_PRICES = ("open", "high", "low", "close")
_MAX_DECIMALS = 8
BATCH_ROWS = 65_536


class HistoryError(Exception):
    """A history folder or file that cannot be used; the text says which, why, and what to do."""


class Layout(IntEnum):
    """What a file holds, the most faithful first."""

    MT5_TICKS = 0
    TICKS = 1
    QUOTE_BARS = 2
    MT5_BARS = 3
    BARS = 4

    @property
    def is_ticks(self) -> bool:
        """Whether the file holds ticks and not bars."""
        return self <= Layout.TICKS


@dataclass(frozen=True)
class HistoryFile:
    """A usable file: its layout, the seconds between its bars (0 for ticks) and its first and last time (ms)."""

    path: Path
    layout: Layout
    step: int
    first_msc: int
    last_msc: int
    timeframe: str = ""
    """The one that was asked for of a file that holds several."""


def find_files(folder: Path, symbol: str) -> list[HistoryFile]:
    """The files of a symbol. Raises HistoryError for a missing folder or a file that cannot be read."""
    if not folder.is_dir():
        raise HistoryError(f"The history folder {folder} does not exist; give --history a folder with Parquet files.")
    paths = sorted(path for path in folder.glob("*.parquet") if symbol in re.split(r"[_.\-]", path.stem))
    found = [file for path in paths if (file := _replayable(path)) is not None]
    if not found:
        raise HistoryError(
            f"The history folder {folder} has no ticks or bars of {symbol}; add a Parquet file whose name contains "
            f"_{symbol}_ or leave {symbol} out of --symbols."
        )
    return found


def _replayable(path: Path) -> HistoryFile | None:
    # Of many timeframes in one file M1 is always a better source.
    return None if "timeframe" in _open(path).schema_arrow.names else inspect_file(path)


def _broken(path: Path, problem: str) -> HistoryError:
    return HistoryError(f"The history file {path} {problem}; replace it with a good copy or take it out of the folder.")


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, "is not a readable Parquet file") from error


def _batches(path: Path, columns: Sequence[str], timeframe: str = "") -> Iterator[dict[str, Array]]:
    """The columns, a stretch of rows at a time. Raises HistoryError."""
    wanted = [*columns, "timeframe"] if timeframe and "timeframe" not in columns else list(columns)
    try:
        for batch in _open(path).iter_batches(BATCH_ROWS, columns=wanted):
            values = {name: np.asarray(batch.column(name).to_numpy(zero_copy_only=False)) for name in wanted}
            if timeframe:
                mine = values["timeframe"] == timeframe
                values = {name: column[mine] for name, column in values.items()}
            yield values
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, "is damaged") from error


def _layout(columns: set[str]) -> Layout | None:
    if {"time_msc", "bid", "ask"} <= columns:
        return Layout.MT5_TICKS if set(_MT5_TICK_FIELDS) <= columns else Layout.TICKS
    if {"time", *(f"{side}_{price}" for side in ("bid", "ask") for price in _PRICES)} <= columns:
        return Layout.QUOTE_BARS
    if {"time", *_PRICES} <= columns:
        return Layout.MT5_BARS if {"tick_volume", "spread"} <= columns else Layout.BARS
    return None


def inspect_file(path: Path, timeframe: str = "") -> HistoryFile:
    """What a file holds; of a file with several timeframes the one named. Raises HistoryError."""
    columns = set(_open(path).schema_arrow.names)
    if ("timeframe" in columns) is not bool(timeframe):
        problem = "holds one timeframe only, none is to be named" if timeframe else "holds several timeframes"
        raise HistoryError(f"The history file {path} {problem}; name one of its timeframes exactly if it has several.")
    layout = _layout(columns)
    if layout is None:
        raise _broken(path, f"has neither tick nor bar columns but {', '.join(sorted(columns))}")
    first, last, step = _scan_times(path, "time_msc" if layout.is_ticks else "time", timeframe)
    scale = 1 if layout.is_ticks else 1000
    return HistoryFile(path, layout, 0 if layout.is_ticks else max(60, step), first * scale, last * scale, timeframe)


def _scan_times(path: Path, name: str, timeframe: str) -> tuple[int, int, int]:
    """First and last value of a column of times that must ascend, and the usual step at its beginning."""
    row, first, last, step = 0, None, 0, 0
    for columns in _batches(path, [name], timeframe):
        times = columns[name]
        if times.dtype.kind not in "iu":
            raise _broken(path, f"has a column {name} of {times.dtype} instead of whole numbers")
        if not len(times):
            continue
        steps = np.diff(times, prepend=times[0] if first is None else last)
        if steps.min() < 0:
            late = row + int(np.argmax(steps < 0))
            raise _broken(path, f"is not in order of time: row {late} is earlier than the one before")
        if first is None:
            first = int(times[0])
            step = int(np.median(steps[1:])) if len(steps) > 1 else 0
        row, last = row + len(times), int(times[-1])
    if first is None:
        raise _broken(path, f"has no rows of {timeframe}" if timeframe else "is empty")
    return first, last, step


def _checked(file: HistoryFile) -> Iterator[dict[str, Array]]:
    """Stretches of all columns, their prices checked."""
    sides = {f"{side}_{price}" for side in ("bid", "ask") for price in _PRICES}
    names, row = _open(file.path).schema_arrow.names, 0
    for columns in _batches(file.path, names, file.timeframe):
        for name in {"bid", "ask", *_PRICES, *sides} & set(names):
            values = columns[name]
            if values.dtype.kind not in "fiu":
                raise _broken(file.path, f"has a column {name} of {values.dtype} instead of numbers")
            good = np.isfinite(values) & (values > 0)
            if not good.all():
                bad = int(np.argmin(good))
                raise _broken(file.path, f"has no valid price in column {name}, row {row + bad} ({values[bad]})")
        row += len(columns[names[0]])
        yield columns


def tick_batches(file: HistoryFile) -> Iterator[Array]:
    """The ticks of a tick file (TICKS_DTYPE); those of a terminal row for row, others with flags worked out."""
    wanted = _MT5_TICK_FIELDS if file.layout is Layout.MT5_TICKS else ("time_msc", "bid", "ask")
    before: Array | None = None
    for columns in _checked(file):
        ticks = np.zeros(len(columns["time_msc"]), TICKS_DTYPE)
        for name in wanted:
            ticks[name] = columns[name]
        ticks["time"] = ticks["time_msc"] // 1000
        if file.layout is Layout.TICKS:
            known = ticks if before is None else np.concatenate((before, ticks))
            ticks["flags"] = tick_flags(known["bid"], known["ask"])[-len(ticks) :]
            before = ticks[-1:].copy()
            ticks = ticks[ticks["flags"] != 0]
        yield ticks


def bar_batches(file: HistoryFile, point: float) -> Iterator[Array]:
    """The bars of a bar file (RATES_DTYPE). Bars without a spread column get 0, bid/ask bars the one at the open."""
    quotes = file.layout is Layout.QUOTE_BARS
    for columns in _checked(file):
        bars = np.zeros(len(columns["time"]), RATES_DTYPE)
        bars["time"] = columns["time"]
        for name in _PRICES:
            bars[name] = columns[f"bid_{name}" if quotes else name]
        if quotes:
            bars["spread"] = np.rint((columns["ask_open"] - columns["bid_open"]) / point)
        bars["tick_volume"] = columns.get("tick_volume", 4)
        for name in ("spread", "real_volume"):
            if name in columns:
                bars[name] = columns[name]
        yield bars


def read_ticks(file: HistoryFile) -> Array:
    """All of `tick_batches` at once."""
    return np.concatenate(list(tick_batches(file)))


def read_bars(file: HistoryFile, point: float) -> Array:
    """All of `bar_batches` at once."""
    return np.concatenate(list(bar_batches(file, point)))


def decimals(file: HistoryFile) -> int:
    """Digits after the point of the prices in the file, from its first rows."""
    name = "bid" if file.layout.is_ticks else "bid_close" if file.layout is Layout.QUOTE_BARS else "close"
    sample = next(_batches(file.path, [name]))[name][:2000].astype(np.float64)
    return digits_of(sample)


def digits_of(prices: Array) -> int:
    """Digits after the point that the prices need."""
    for digits in range(_MAX_DECIMALS):
        if np.allclose(prices, np.round(prices, digits), rtol=0.0, atol=10.0 ** -(digits + 4)):
            return digits
    return _MAX_DECIMALS
