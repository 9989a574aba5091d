"""Reading history files: Parquet with ticks or bars in the layouts that terminals and data vendors give.

The columns tell the layout, the file name tells the symbol (one of its parts between `_`, `-` and `.`):

    ticks     time_msc, bid, ask [, flags, last, volume, volume_real]     as copy_ticks_* gives them
    bars      time, open, high, low, close [, tick_volume, spread, real_volume]    as copy_rates_* gives them
    quotes    time, bid_open .. bid_close, ask_open .. ask_close

Times are taken as they are: the file's clock becomes the broker's.
"""

from __future__ import annotations

import re
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


def find_files(folder: Path, symbol: str) -> list[HistoryFile]:
    """The files of a symbol. Raises HistoryError for a missing folder or a file that cannot be read."""
    if not folder.is_dir():
        raise HistoryError(f"The history folder {folder} does not exist; give --history a folder with Parquet files.")
    paths = sorted(path for path in folder.glob("*.parquet") if symbol in re.split(r"[_.\-]", path.stem))
    found = [file for path in paths if (file := _inspect(path)) is not None]
    if not found:
        raise HistoryError(
            f"The history folder {folder} has no ticks or bars of {symbol}; add a Parquet file whose name contains "
            f"_{symbol}_ or leave {symbol} out of --symbols."
        )
    return found


def _broken(path: Path, problem: str) -> HistoryError:
    return HistoryError(f"The history file {path} {problem}; replace it with a good copy or take it out of the folder.")


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, "is not a readable Parquet file") from error


def _column(path: Path, name: str) -> Array:
    try:
        return np.asarray(_open(path).read(columns=[name]).column(0).to_numpy())
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, f"cannot be read in its column {name}") from error


def _layout(columns: set[str]) -> Layout | None:
    if "timeframe" in columns:  # many timeframes in one file: M1 is always a better source
        return None
    if {"time_msc", "bid", "ask"} <= columns:
        return Layout.MT5_TICKS if set(_MT5_TICK_FIELDS) <= columns else Layout.TICKS
    if {"time", *(f"{side}_{price}" for side in ("bid", "ask") for price in _PRICES)} <= columns:
        return Layout.QUOTE_BARS
    if {"time", *_PRICES} <= columns:
        return Layout.MT5_BARS if {"tick_volume", "spread"} <= columns else Layout.BARS
    return None


def _inspect(path: Path) -> HistoryFile | None:
    columns = set(_open(path).schema_arrow.names)
    layout = _layout(columns)
    if layout is None:
        if "timeframe" in columns:
            return None
        raise _broken(path, f"has neither tick nor bar columns but {', '.join(sorted(columns))}")
    name = "time_msc" if layout.is_ticks else "time"
    times = _column(path, name)
    if not len(times):
        raise _broken(path, "is empty")
    if times.dtype.kind not in "iu":
        raise _broken(path, f"has a column {name} of {times.dtype} instead of whole numbers")
    steps = np.diff(times)
    if len(steps) and steps.min() < 0:
        raise _broken(
            path, f"is not in order of time: row {int(np.argmax(steps < 0)) + 1} is earlier than the one before"
        )
    scale = 1 if layout.is_ticks else 1000
    step = 0 if layout.is_ticks or not len(steps) else max(60, int(np.median(steps)))
    return HistoryFile(path, layout, step, int(times[0]) * scale, int(times[-1]) * scale)


def _table(file: HistoryFile) -> dict[str, Array]:
    try:
        table = _open(file.path).read()
    except (pa.ArrowException, OSError) as error:
        raise _broken(file.path, "is damaged") from error
    return {name: np.asarray(table.column(name).to_numpy()) for name in table.column_names}


def _check_prices(file: HistoryFile, columns: dict[str, Array]) -> None:
    sides = {f"{side}_{price}" for side in ("bid", "ask") for price in _PRICES}
    for name, values in columns.items():
        if name in {"bid", "ask", *_PRICES, *sides}:
            if values.dtype.kind not in "fiu":
                raise _broken(file.path, f"has a column {name} of {values.dtype} instead of numbers")
            good = np.isfinite(values) & (values > 0)
            if not good.all():
                row = int(np.argmin(good))
                raise _broken(file.path, f"has no valid price in column {name}, row {row} ({values[row]})")


def read_ticks(file: HistoryFile) -> Array:
    """The ticks of a tick file (TICKS_DTYPE); those of a terminal row for row, others with flags worked out."""
    columns = _table(file)
    _check_prices(file, columns)
    ticks = np.zeros(len(columns["time_msc"]), TICKS_DTYPE)
    wanted = _MT5_TICK_FIELDS if file.layout is Layout.MT5_TICKS else ("time_msc", "bid", "ask")
    for name in wanted:
        ticks[name] = columns[name]
    ticks["time"] = ticks["time_msc"] // 1000
    if file.layout is Layout.TICKS:
        ticks["flags"] = tick_flags(ticks["bid"], ticks["ask"])
        ticks = ticks[ticks["flags"] != 0]
    return ticks


def read_bars(file: HistoryFile, point: float) -> Array:
    """The bars of a bar file (RATES_DTYPE). Bars without a spread column get 0, bid/ask bars the one at the open."""
    columns = _table(file)
    _check_prices(file, columns)
    bars = np.zeros(len(columns["time"]), RATES_DTYPE)
    bars["time"] = columns["time"]
    quotes = file.layout is Layout.QUOTE_BARS
    for name in _PRICES:
        bars[name] = columns[f"bid_{name}" if quotes else name]
    if quotes:
        bars["spread"] = np.rint((columns["ask_open"] - columns["bid_open"]) / point)
    bars["tick_volume"] = columns.get("tick_volume", 4)
    for name in ("spread", "real_volume"):
        if name in columns:
            bars[name] = columns[name]
    return bars


def decimals(file: HistoryFile) -> int:
    """Digits after the point of the prices in the file, from its first rows."""
    name = "bid" if file.layout.is_ticks else "bid_close" if file.layout is Layout.QUOTE_BARS else "close"
    sample = _column(file.path, name)[:2000].astype(np.float64)
    for digits in range(_MAX_DECIMALS):
        if np.allclose(sample, np.round(sample, digits), rtol=0.0, atol=10.0 ** -(digits + 4)):
            return digits
    return _MAX_DECIMALS
