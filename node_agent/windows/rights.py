"""NTFS rights and security descriptors, written and read as SDDL."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from node_agent.windows import api
from node_agent.windows.api import BOOL, DWORD, HANDLE, LPCWSTR, LPVOID, Owned, check, declare, failure

_FILE_OBJECT: Final = 1
_DACL: Final = 0x4
_PROTECTED_DACL: Final = 0x80000000
_REVISION: Final = 1
_TOKEN_QUERY: Final = 0x8
_TOKEN_USER: Final = 1

_from_text = declare(
    api.advapi32, "ConvertStringSecurityDescriptorToSecurityDescriptorW", BOOL, LPCWSTR, DWORD, api.PVOID, api.PDWORD
)
_to_text = declare(
    api.advapi32, "ConvertSecurityDescriptorToStringSecurityDescriptorW",
    BOOL, LPVOID, DWORD, DWORD, ctypes.POINTER(ctypes.c_wchar_p), api.PDWORD,
)  # fmt: skip
_dacl_of = declare(
    api.advapi32, "GetSecurityDescriptorDacl", BOOL, LPVOID, ctypes.POINTER(BOOL), api.PVOID, ctypes.POINTER(BOOL)
)
_set_named = declare(
    api.advapi32, "SetNamedSecurityInfoW", DWORD, LPCWSTR, ctypes.c_int, DWORD, LPVOID, LPVOID, LPVOID, LPVOID
)
_get_named = declare(
    api.advapi32, "GetNamedSecurityInfoW",
    DWORD, LPCWSTR, ctypes.c_int, DWORD, api.PVOID, api.PVOID, api.PVOID, api.PVOID, api.PVOID,
)  # fmt: skip
_sid_to_text = declare(api.advapi32, "ConvertSidToStringSidW", BOOL, LPVOID, ctypes.POINTER(ctypes.c_wchar_p))
_open_token = declare(api.advapi32, "OpenProcessToken", BOOL, HANDLE, DWORD, ctypes.POINTER(HANDLE))
_token_information = declare(api.advapi32, "GetTokenInformation", BOOL, HANDLE, ctypes.c_int, LPVOID, DWORD, api.PDWORD)


@contextmanager
def descriptor(sddl: str) -> Iterator[int]:
    """A security descriptor, for as long as the `with` lasts. Raises WindowsCallError for text that is no SDDL."""
    made = ctypes.c_void_p()
    check("ConvertStringSecurityDescriptor", _from_text(sddl, _REVISION, ctypes.byref(made), None))
    try:
        yield made.value or 0
    finally:
        api.local_free(made)


def set_rights(path: Path, sddl: str) -> None:
    """Raises WindowsCallError."""
    with descriptor(sddl) as made:
        present, defaulted, dacl = BOOL(), BOOL(), ctypes.c_void_p()
        check(
            "GetSecurityDescriptorDacl",
            _dacl_of(made, ctypes.byref(present), ctypes.byref(dacl), ctypes.byref(defaulted)),
        )
        code = _set_named(str(path), _FILE_OBJECT, _DACL | _PROTECTED_DACL, None, None, dacl, None)
        if code:
            raise failure("SetNamedSecurityInfo", code)


def rights(path: Path) -> str:
    """Raises WindowsCallError."""
    found, text = ctypes.c_void_p(), ctypes.c_wchar_p()
    code = _get_named(str(path), _FILE_OBJECT, _DACL, None, None, None, None, ctypes.byref(found))
    if code:
        raise failure("GetNamedSecurityInfo", code)
    try:
        check("ConvertSecurityDescriptor", _to_text(found, _REVISION, _DACL, ctypes.byref(text), None))
        return _taken(text)
    finally:
        api.local_free(found)


def sid_text(sid: int | ctypes.c_void_p) -> str:
    """`S-1-5-...`. Raises WindowsCallError."""
    text = ctypes.c_wchar_p()
    check("ConvertSidToStringSid", _sid_to_text(sid, ctypes.byref(text)))
    return _taken(text)


def own_sid() -> str:
    """Of the user that runs this process. Raises WindowsCallError."""
    token = HANDLE()
    check("OpenProcessToken", _open_token(api.current_process(), _TOKEN_QUERY, ctypes.byref(token)))
    with Owned("OpenProcessToken", token.value) as opened:
        size = DWORD()
        _token_information(opened, _TOKEN_USER, None, 0, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        check("GetTokenInformation", _token_information(opened, _TOKEN_USER, buffer, size, ctypes.byref(size)))
        # TOKEN_USER begins with the pointer to the SID, which lies in the same buffer.
        return sid_text(ctypes.c_void_p.from_buffer(buffer))


def _taken(text: ctypes.c_wchar_p) -> str:
    """The text of a buffer that Windows has made for us, which is given back."""
    value = text.value or ""
    api.local_free(ctypes.cast(text, ctypes.c_void_p))
    return value
