"""DPAPI: secrets sealed to the Windows user that runs the agent, on this machine."""

from __future__ import annotations

import ctypes
from typing import Any, Final

from node_agent.windows import api
from node_agent.windows.api import BOOL, DWORD, LPCWSTR, LPVOID, check, declare

_NO_USER_INTERFACE: Final = 0x1


class _Blob(ctypes.Structure):
    _fields_ = (("size", DWORD), ("data", ctypes.c_void_p))


_PBlob = ctypes.POINTER(_Blob)
_protect = declare(api.crypt32, "CryptProtectData", BOOL, _PBlob, LPCWSTR, _PBlob, LPVOID, LPVOID, DWORD, _PBlob)
_unprotect = declare(api.crypt32, "CryptUnprotectData", BOOL, _PBlob, LPVOID, _PBlob, LPVOID, LPVOID, DWORD, _PBlob)


def protect(secret: bytes) -> bytes:
    """Raises WindowsCallError."""
    return _convert("CryptProtectData", _protect, secret)


def unprotect(sealed: bytes) -> bytes:
    """Raises WindowsCallError when it was sealed elsewhere, by another user, or was changed."""
    return _convert("CryptUnprotectData", _unprotect, sealed)


def _convert(name: str, call: Any, given: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(given, len(given))
    source, result = _Blob(len(given), ctypes.cast(buffer, ctypes.c_void_p)), _Blob()
    try:
        check(name, call(ctypes.byref(source), None, None, None, None, _NO_USER_INTERFACE, ctypes.byref(result)))
        return ctypes.string_at(result.data, result.size)
    finally:
        ctypes.memset(buffer, 0, len(given))
        if result.data:
            ctypes.memset(result.data, 0, result.size)
            api.local_free(result.data)
