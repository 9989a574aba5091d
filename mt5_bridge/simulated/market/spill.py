"""Rows that may be larger than memory: unnamed files, mapped.

The files have no name from the start, so nothing is left behind however the process ends.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mt5_bridge.simulated.market.bars import Array

_PIECE = 65_536


class Spill:
    """Read-only rows in a file. The kernel keeps in memory what is in use and may drop the rest at any time.

    `times` is the rows' column `column` (int64) on its own, so that it can be searched without touching the rows.
    """

    def __init__(self, batches: Iterable[Array], dtype: npt.DTypeLike, column: str, folder: Path | None = None) -> None:
        """Write the batches to a file in `folder` (None: the system's temporary one). Raises OSError."""
        self._maps: list[mmap.mmap] = []
        self.rows = self._write(batches, np.dtype(dtype), folder)
        self.times = self._write(self._column(column), np.dtype(np.int64), folder)
        self.rest()

    def rest(self) -> None:
        """Give the pages that were read back to the kernel; reading them again costs little."""
        for one in self._maps:
            if hasattr(mmap, "MADV_DONTNEED"):
                one.madvise(mmap.MADV_DONTNEED)

    def _column(self, name: str) -> Iterator[Array]:
        for start in range(0, len(self.rows), _PIECE):
            yield self.rows[start : start + _PIECE][name].astype(np.int64)

    def _write(self, batches: Iterable[Array], dtype: npt.DTypeLike, folder: Path | None) -> Array:
        with tempfile.TemporaryFile(dir=folder) as file:
            for batch in batches:
                file.write(np.ascontiguousarray(batch).view(np.uint8).data)
            file.flush()
            if not file.tell():
                return np.empty(0, dtype)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._maps.append(mapped)
        return np.frombuffer(mapped, dtype)
