"""The CSV that MT5's Symbols window exports: ticks and bars, tabs between columns, broker time.

Bars   <DATE> [<TIME>] <OPEN> <HIGH> <LOW> <CLOSE> <TICKVOL> <VOL> <SPREAD>      without <TIME> from D1 up
Ticks  <DATE> <TIME> <BID> <ASK> <LAST> <VOLUME> <FLAGS>      a field stays empty when the tick did not change it
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from mt5_bridge.history.kinds import Kind
from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.simulated.market.history import HistoryError

TICK_COLUMNS: Final = ("<BID>", "<ASK>", "<LAST>", "<VOLUME>", "<FLAGS>")
BAR_COLUMNS: Final = {
    "<OPEN>": "open",
    "<HIGH>": "high",
    "<LOW>": "low",
    "<CLOSE>": "close",
    "<TICKVOL>": "tick_volume",
    "<VOL>": "real_volume",
    "<SPREAD>": "spread",
}
_DAILY_MINUTES = ("D1", "W1", "MN1")
_BLOCK_BYTES = 4 << 20
_FILLED: Final = (("bid", 2), ("ask", 4), ("last", 8), ("volume_real", 16))


class CsvRows:
    """Writes rows as MT5 does, prices with `digits` after the point."""

    def __init__(self, file: IO[bytes], kind: Kind, digits: int) -> None:
        self._file = file
        self._digits = digits
        self._kind = kind
        self._with_time = kind.name not in _DAILY_MINUTES
        self._before: Array | None = None
        columns = TICK_COLUMNS if kind.is_ticks else tuple(BAR_COLUMNS)
        self._line(["<DATE>", *(["<TIME>"] if self._with_time else []), *columns])

    def write(self, rows: Array) -> None:
        """Append rows."""
        unit = "ms" if self._kind.is_ticks else "s"
        stamps = np.datetime_as_string(rows[self._kind.time_column].astype(f"datetime64[{unit}]")).tolist()
        fields = self._tick_fields(rows) if self._kind.is_ticks else self._bar_fields(rows)
        for stamp, values in zip(stamps, fields, strict=True):
            date, _, time = stamp.partition("T")
            self._line([date.replace("-", "."), *([time] if self._with_time else []), *values])

    def close(self) -> None:
        """Nothing is left to write."""

    def _line(self, fields: Sequence[str]) -> None:
        self._file.write(("\t".join(fields) + "\r\n").encode())

    def _bar_fields(self, rows: Array) -> Iterator[list[str]]:
        for *prices, ticks, spread, volume in (row[1:] for row in rows.tolist()):
            yield [*(f"{price:.{self._digits}f}" for price in prices), str(ticks), str(volume), str(spread)]

    def _tick_fields(self, rows: Array) -> Iterator[list[str]]:
        names = [name for name, _ in _FILLED]
        volumes = np.where(rows["volume_real"] > 0, rows["volume_real"], rows["volume"])
        columns = np.stack([rows["bid"], rows["ask"], rows["last"], volumes], axis=1)
        before = self._before if self._before is not None else np.full(len(names), np.nan)
        differ = columns != np.vstack((before, columns[:-1]))
        self._before = columns[-1]
        for values, changes, flags in zip(columns.tolist(), differ.tolist(), rows["flags"].tolist(), strict=True):
            shown = [
                self._number(value, column) if change or flags & bit else ""
                for column, (value, change, (_, bit)) in enumerate(zip(values, changes, _FILLED, strict=True))
            ]
            yield [*shown, str(flags)]

    def _number(self, value: float, column: int) -> str:
        return f"{value:.{self._digits}f}" if column < 3 else f"{value:.8f}".rstrip("0").rstrip(".")


def read_kind(path: Path) -> tuple[bool, str, str, tuple[str, ...]]:
    """Whether a CSV file holds ticks, its delimiter, encoding and columns. Raises HistoryError."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise HistoryError(f"The file {path} cannot be read ({error.strerror}).") from error
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    first = head[: len(head) // 2 * 2].decode(encoding, "replace").lstrip("\ufeff").splitlines()[:1]
    line = first[0] if first else ""
    delimiter = "\t" if "\t" in line else ","
    names = tuple(line.split(delimiter))
    if "<DATE>" in names and {"<TIME>", "<BID>", "<ASK>"} <= set(names):
        return True, delimiter, encoding, names
    if "<DATE>" in names and {"<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>"} <= set(names):
        return False, delimiter, encoding, names
    raise HistoryError(
        f"The file {path} is no CSV export of MT5: its first line must name <DATE>, <TIME> and <BID>, <ASK> or "
        "<OPEN>, <HIGH>, <LOW>, <CLOSE>."
    )


def read_rows(path: Path) -> Iterator[Array]:
    """The rows of a file, a stretch at a time (TICKS_DTYPE or RATES_DTYPE). Raises HistoryError."""
    is_ticks, delimiter, encoding, names = read_kind(path)
    line, before = 2, dict[str, float]()
    try:
        reader = csv.open_csv(
            path,
            csv.ReadOptions(block_size=_BLOCK_BYTES, encoding=encoding),
            csv.ParseOptions(delimiter=delimiter),
            csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True),
        )
        for batch in reader:
            texts = {name: batch.column(name) for name in names}
            times = _times(path, texts, line)
            yield _ticks(path, texts, times, line, before) if is_ticks else _bars(path, texts, times, line)
            line += len(times)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise HistoryError(f"The file {path} cannot be read after line {line - 1}: {_first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["unreadable"])[0].rstrip(".")[:200]


def _times(path: Path, texts: dict[str, Any], line: int) -> Array:
    dates = pc.replace_substring(pc.fill_null(texts["<DATE>"], ""), ".", "-")
    clocks = pc.fill_null(texts["<TIME>"], "") if "<TIME>" in texts else pa.array(["00:00:00"] * len(dates))
    stamps = pc.binary_join_element_wise(dates, clocks, "T")
    try:
        return np.asarray(pc.cast(stamps, pa.timestamp("ms")).to_numpy(zero_copy_only=False).astype(np.int64))
    except pa.ArrowException as error:
        bad = _first_bad(stamps, pa.timestamp("ms"))
        raise HistoryError(
            f"The file {path} has no valid date and time in line {line + bad} ({stamps[bad].as_py()!r})."
        ) from error


def _first_bad(texts: Any, kind: Any) -> int:
    for number, text in enumerate(texts):
        try:
            pc.cast(text, kind)
        except pa.ArrowException:
            return number
    return 0


def _numbers(path: Path, texts: dict[str, Any], name: str, line: int) -> Array:
    """A column of numbers; NaN where it is empty or missing."""
    if name not in texts:
        return np.full(len(texts["<DATE>"]), np.nan)
    try:
        return np.asarray(pc.cast(texts[name], pa.float64()).to_numpy(zero_copy_only=False))
    except pa.ArrowException as error:
        bad = _first_bad(texts[name], pa.float64())
        raise HistoryError(
            f"The file {path} has no number in column {name}, line {line + bad} ({texts[name][bad].as_py()!r})."
        ) from error


def _bars(path: Path, texts: dict[str, Any], times: Array, line: int) -> Array:
    bars = np.zeros(len(times), Kind("M1").dtype)
    bars["time"] = times // 1000
    for column, name in BAR_COLUMNS.items():
        values = _numbers(path, texts, column, line)
        if name in {"open", "high", "low", "close"} and np.isnan(values).any():
            raise HistoryError(f"The file {path} has no {column} in line {line + int(np.argmax(np.isnan(values)))}.")
        bars[name] = np.nan_to_num(values)
    return bars


def _ticks(path: Path, texts: dict[str, Any], times: Array, line: int, before: dict[str, float]) -> Array:
    """Empty fields keep the value of the tick before; ticks before the first bid and ask are left out."""
    ticks = np.zeros(len(times), Kind("ticks").dtype)
    ticks["time_msc"], ticks["time"] = times, times // 1000
    known = np.ones(len(times), dtype=np.bool_)
    for name, _ in _FILLED:
        column = "<VOLUME>" if name == "volume_real" else f"<{name.upper()}>"
        values = _filled(_numbers(path, texts, column, line), before.get(name, np.nan))
        if len(values):
            before[name] = float(values[-1])
        if name in {"bid", "ask"}:
            known &= ~np.isnan(values)
        ticks[name] = np.nan_to_num(values)
    ticks["volume"] = ticks["volume_real"]
    ticks["flags"] = np.nan_to_num(_numbers(path, texts, "<FLAGS>", line))
    return np.asarray(ticks[known])


def _filled(values: Array, before: float) -> Array:
    padded = np.concatenate(([before], values))
    last_known = np.maximum.accumulate(np.where(np.isnan(padded), 0, np.arange(len(padded))))
    return np.asarray(padded[last_known][1:])
