"""How large a file really is. NTFS files have further streams, which no listing counts and everybody can write to."""

from __future__ import annotations

import ctypes
from ctypes import wintypes
from pathlib import Path
from typing import Final

from node_agent.windows import api
from node_agent.windows.api import BOOL, DWORD, HANDLE, LPCWSTR, LPVOID, declare

_NAME: Final = 296
"""MAX_PATH and the characters around a stream's name."""
_INVALID: Final = ctypes.c_void_p(-1).value


class _Stream(ctypes.Structure):
    _fields_ = (("size", ctypes.c_int64), ("name", wintypes.WCHAR * _NAME))


_first = declare(api.kernel32, "FindFirstStreamW", HANDLE, LPCWSTR, ctypes.c_int, LPVOID, DWORD)
_next = declare(api.kernel32, "FindNextStreamW", BOOL, HANDLE, LPVOID)
_close = declare(api.kernel32, "FindClose", BOOL, HANDLE)


def size_of(path: Path) -> int:
    """Bytes of all streams of a file or folder, at least those of its content. Raises OSError when it has gone."""
    plain = path.lstat().st_size
    stream = _Stream()
    search = _first(str(path), 0, ctypes.byref(stream), 0)
    if search in {None, _INVALID}:
        return plain  # a folder without streams, or a file system that has none
    total: int = 0
    try:
        while True:
            total += stream.size
            if not _next(search, ctypes.byref(stream)):
                return max(plain, total)
    finally:
        _close(search)
