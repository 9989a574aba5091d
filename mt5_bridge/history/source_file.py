"""A history file of any known format, read as what a terminal would give."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mt5_bridge.history.kinds import Kind
from mt5_bridge.history.mt5_csv import read_kind, read_rows
from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.simulated.market.history import (
    HistoryError,
    bar_batches,
    decimals,
    digits_of,
    inspect_file,
    tick_batches,
)

_PRICES = {True: ("bid", "ask"), False: ("open", "high", "low", "close")}


class SourceFile:
    """Ticks or bars in a Parquet or CSV file.

    `timeframe` names one of a file that holds several; `digits` (None: worked out from the prices) turns spreads into
    points; `shift` (s) is added to all times. Raises HistoryError for a file that cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        symbol: str = "",
        timeframe: str = "",
        digits: int | None = None,
        shift: int = 0,
    ) -> None:
        self._path = path
        self._shift = shift
        self.symbol = symbol or _symbol_of(path)
        if path.suffix == ".csv":
            ticks, *_ = read_kind(path)
            self._file = None
            rows = next((batch for batch in read_rows(path) if len(batch)), None)
            if rows is None:
                raise HistoryError(f"The file {path} has no rows.")
            step = 0 if ticks else _step_of(path, rows)
            close = rows["bid" if ticks else "close"][:2000]
            self.digits = digits if digits is not None else digits_of(close)
        else:
            self._file = inspect_file(path, timeframe)
            step = self._file.step
            self.digits = digits if digits is not None else decimals(self._file)
        try:
            self.kind = Kind(timeframe) if timeframe else Kind.of_step(step)
        except ValueError as error:
            raise HistoryError(f"The file {path} cannot be used: {error}.") from error

    def batches(self) -> Iterator[tuple[int, Array]]:
        """Rows with the time (s) reached, checked for order and prices. Raises HistoryError."""
        last, row = -(1 << 62), 0
        for rows in self._rows():
            if not len(rows):
                continue
            rows["time"] += self._shift
            if self.kind.is_ticks:
                rows["time_msc"] += self._shift * 1000
            self._check(rows, last, row)
            last, row = int(rows[self.kind.time_column][-1]), row + len(rows)
            yield int(rows["time"][-1]), rows

    def _rows(self) -> Iterator[Array]:
        if self._file is None:
            return read_rows(self._path)
        if self.kind.is_ticks:
            return tick_batches(self._file)
        return bar_batches(self._file, float(f"1e-{self.digits}"))

    def _check(self, rows: Array, last: int, row: int) -> None:
        steps = np.diff(rows[self.kind.time_column], prepend=last)
        bad = steps < 0 if self.kind.is_ticks else steps <= 0
        self._refuse(bad, row, "is not later than the one before")
        for name in _PRICES[self.kind.is_ticks]:
            self._refuse(~(np.isfinite(rows[name]) & (rows[name] > 0)), row, f"has no valid {name}")
        if not self.kind.is_ticks:
            wrong = (rows["high"] < np.maximum(rows["open"], rows["close"])) | (
                rows["low"] > np.minimum(rows["open"], rows["close"])
            )
            self._refuse(wrong, row, "has a high or low inside of its open and close")

    def _refuse(self, bad: Any, row: int, words: str) -> None:
        if bad.any():
            number = row + int(np.argmax(bad)) + 1
            raise HistoryError(f"The file {self._path} cannot be used: its row {number} {words}.")


def _symbol_of(path: Path) -> str:
    """The part of the name that looks most like a symbol."""
    for part in re.split(r"[_.\-]", path.stem):
        if re.fullmatch(r"[A-Z][A-Z0-9#]{1,11}", part) and part != "MT5" and not _is_timeframe(part):
            return part
    raise HistoryError(f"The name of {path} names no symbol; add --symbol.")


def _is_timeframe(word: str) -> bool:
    return re.fullmatch(r"(M|H|D|W)\d+|MN1", word) is not None


def _step_of(path: Path, rows: Array) -> int:
    for part in re.split(r"[_.\-]", path.stem):
        if _is_timeframe(part):
            return Kind(part).seconds
    return int(np.median(np.diff(rows["time"]))) if len(rows) > 1 else 60
