"""The newest tick of each symbol in a mapped file: terminals on the broker's machine read it instead of asking.

What a terminal reads is what the broker would answer at that moment: the broker writes a tick down in the same step in
which it becomes visible to calls. A row carries a checksum with its number, so one that is being written is not taken
for a tick; the reader then asks. While faults are ordered the board is closed, and so it is when the broker stops.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from mt5_bridge.structs import TICKS_DTYPE, Struct, Tick

_HEADER: Final = struct.Struct("=16s?")
_HEADER_SIZE: Final = 64
_ROW: Final = struct.Struct("=qdddQqIdI")
"""A row of TICKS_DTYPE and its checksum."""
_ROW_SIZE: Final = 128
_FIELDS: Final = _ROW.size - 4
_NO_TICK: Final = bytes(_ROW.size)


class BoardKey(NamedTuple):
    """What a terminal must know to read a board; `nonce` tells the broker's own file from another machine's."""

    path: str
    nonce: bytes
    symbols: tuple[str, ...]


class QuoteBoard:
    """The broker's side. Raises OSError if the file cannot be made."""

    def __init__(self, folder: Path, symbols: Sequence[str]) -> None:
        nonce = secrets.token_bytes(16)
        path = folder.resolve() / f"quotes-{nonce.hex()}.board"
        for old in folder.glob("quotes-*.board"):
            with contextlib.suppress(OSError):  # somewhere it may still be mapped
                old.unlink()
        self.key = BoardKey(str(path), nonce, tuple(symbols))
        self._offsets = {name: _HEADER_SIZE + index * _ROW_SIZE for index, name in enumerate(symbols)}
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+b") as file:
            file.truncate(_HEADER_SIZE + len(symbols) * _ROW_SIZE)
            self._map = mmap.mmap(file.fileno(), 0)
        self.open(on=False)

    def open(self, *, on: bool) -> None:
        """Let terminals read, or make them ask."""
        _HEADER.pack_into(self._map, 0, self.key.nonce, on)

    def put(self, symbol: str, tick: Any) -> None:
        """Write the newest tick (a record of TICKS_DTYPE) down."""
        row = tick.tobytes()
        offset = self._offsets[symbol]
        self._map[offset : offset + _ROW.size] = row + zlib.crc32(row).to_bytes(4, "little")


class BoardReader:
    """A terminal's side."""

    def __init__(self, key: BoardKey) -> None:
        """Raises OSError, for an empty file ValueError, when this machine has no such board."""
        with Path(key.path).open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._nonce = key.nonce
        self._offsets = {name: _HEADER_SIZE + index * _ROW_SIZE for index, name in enumerate(key.symbols)}
        if bytes(self._map[:16]) != key.nonce or len(self._map) < _HEADER_SIZE + len(self._offsets) * _ROW_SIZE:
            raise OSError("the file is another broker's")

    def tick(self, symbol: str) -> Struct | None:
        """The newest tick; None if the broker must be asked."""
        offset = self._offsets.get(symbol)
        if offset is None or not self._map[16]:
            return None
        row = self._map[offset : offset + _ROW.size]
        *fields, checksum = _ROW.unpack(row)
        if row == _NO_TICK or checksum != zlib.crc32(row[:_FIELDS]):
            return None
        return Tick(fields)


def board_reader(key: BoardKey) -> BoardReader | None:
    """A reader of the board, None where it cannot be read: the broker is on another machine."""
    try:
        return BoardReader(key)
    except (OSError, ValueError):
        return None


def _check_layout() -> None:
    dtype = np.dtype(TICKS_DTYPE)
    if dtype.itemsize != _FIELDS:
        raise RuntimeError(f"a tick has {dtype.itemsize} bytes, not {_FIELDS}")


_check_layout()
