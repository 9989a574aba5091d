"""History files that are there whole or not at all.

Rows go to a file beside the target whose name no reader takes for history; it gets the target's name when everything is
written and on the disk, and is removed when anything fails.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mt5_bridge.history.kinds import Kind
from mt5_bridge.history.mt5_csv import CsvRows
from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.simulated.market.history import BATCH_ROWS, HistoryError


class ParquetRows:
    """Rows as Parquet in the layout of copy_ticks_* or copy_rates_*, in row groups of 65,536."""

    def __init__(self, file: IO[bytes], kind: Kind) -> None:
        schema = pa.schema([(name, pa.from_numpy_dtype(kind.dtype[name])) for name in kind.dtype.names or ()])
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._schema = schema
        self._waiting: Array = np.empty(0, kind.dtype)

    def write(self, rows: Array) -> None:
        """Append rows."""
        self._waiting = np.concatenate((self._waiting, rows))
        full = len(self._waiting) // BATCH_ROWS * BATCH_ROWS
        for start in range(0, full, BATCH_ROWS):
            self._group(self._waiting[start : start + BATCH_ROWS])
        self._waiting = self._waiting[full:]

    def close(self) -> None:
        """Write what is left, and the footer."""
        if len(self._waiting):
            self._group(self._waiting)
        self._writer.close()

    def _group(self, rows: Array) -> None:
        columns = [np.ascontiguousarray(rows[name]) for name in self._schema.names]
        self._writer.write_table(pa.Table.from_arrays([pa.array(one) for one in columns], schema=self._schema))


class Output:
    """A file in the making, used as a context.

    `target` is a file (.parquet or .csv) or a folder, in which the file is named after its symbol, kind and time.
    Raises HistoryError when the target exists (unless `replace`), OSError when it cannot be written.
    """

    def __init__(
        self, target: Path, symbol: str, kind: Kind, digits: int, *, suffix: str = ".parquet", replace: bool = False
    ) -> None:
        self._folder, self._name = (target.parent, target.name) if target.suffix else (target, "")
        self._suffix = target.suffix or suffix
        if self._suffix not in {".parquet", ".csv"}:
            raise HistoryError(f"The output {target} must be a folder or end with .parquet or .csv.")
        self._symbol, self._kind, self._digits, self._replace = symbol, kind, digits, replace
        self._refuse_existing()
        self.count = 0
        self._first_msc = self._last_msc = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._partial = self._folder / f".{self._name or self._symbol}.{os.getpid()}.partial"
        self._file = self._partial.open("xb")
        self._rows: ParquetRows | CsvRows
        if self._suffix == ".parquet":
            self._rows = ParquetRows(self._file, self._kind)
        else:
            self._rows = CsvRows(self._file, self._kind, self._digits)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._discard()

    def write(self, rows: Array) -> None:
        """Append rows of the kind, later than those before."""
        if not len(rows):
            return
        first, last = self._kind.time_msc(rows[0]), self._kind.time_msc(rows[-1])
        if not self.count:
            self._first_msc = first
        self._last_msc = last
        self.count += len(rows)
        self._rows.write(rows)

    def finish(self) -> Path:
        """Give the file its name, and return it. Raises HistoryError when nothing was written."""
        if not self.count:
            raise HistoryError(f"There are no {self._kind.words} of {self._symbol} in the time asked for.")
        if not self._name:
            self._name = self._kind.file_name(self._symbol, self._first_msc, self._last_msc, self._suffix)
            self._refuse_existing()
        self._rows.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        target = self._folder / self._name
        self._partial.replace(target)
        return target

    def _refuse_existing(self) -> None:
        target = self._folder / self._name
        if self._name and target.exists() and not self._replace:
            raise HistoryError(f"The file {target} exists; choose another --output or add --replace.")

    def _discard(self) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)
