"""The functions of Windows' DLLs with their types, and how their errors are raised. No decisions."""

from __future__ import annotations

import ctypes
from ctypes import wintypes
from typing import Any, Final

from node_agent.windows.port import WindowsCallError

system: Final[Any] = ctypes
"""ctypes with what it has on Windows only, which type checkers elsewhere do not know."""

kernel32: Final = system.WinDLL("kernel32", use_last_error=True)
advapi32: Final = system.WinDLL("advapi32", use_last_error=True)
crypt32: Final = system.WinDLL("crypt32", use_last_error=True)
user32: Final = system.WinDLL("user32", use_last_error=True)
netapi32: Final = system.WinDLL("netapi32", use_last_error=True)
wtsapi32: Final = system.WinDLL("wtsapi32", use_last_error=True)
ntdll: Final = system.WinDLL("ntdll")

DWORD, BOOL, HANDLE, LPVOID, LPCWSTR = wintypes.DWORD, wintypes.BOOL, wintypes.HANDLE, wintypes.LPVOID, wintypes.LPCWSTR
PDWORD: Final = ctypes.POINTER(DWORD)
PVOID: Final = ctypes.POINTER(ctypes.c_void_p)

ERROR_ACCESS_DENIED: Final = 5
ERROR_INSUFFICIENT_BUFFER: Final = 122
ERROR_MORE_DATA: Final = 234
ERROR_FILE_NOT_FOUND: Final = 2
ERROR_INVALID_PARAMETER: Final = 87


def failure(call: str, code: int | None = None) -> WindowsCallError:
    """The error of the call that just failed, by GetLastError unless `code` is given."""
    number = system.get_last_error() if code is None else code
    return WindowsCallError(call, number, system.FormatError(ctypes.c_long(number).value))


def check(call: str, succeeded: Any) -> Any:
    """The result of a call that gives zero or NULL when it fails. Raises WindowsCallError."""
    if not succeeded:
        raise failure(call)
    return succeeded


def declare(library: Any, name: str, result: Any, *arguments: Any) -> Any:
    """A function with its types."""
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


close_handle: Final = declare(kernel32, "CloseHandle", BOOL, HANDLE)
local_free: Final = declare(kernel32, "LocalFree", LPVOID, LPVOID)
current_process: Final = declare(kernel32, "GetCurrentProcess", HANDLE)


class Owned:
    """A kernel handle that is closed at the end of a `with`."""

    def __init__(self, call: str, value: int | None) -> None:
        """Raises WindowsCallError when the call gave no handle."""
        self.value: int = check(call, value)

    def __enter__(self) -> int:
        return self.value

    def __exit__(self, *_: object) -> None:
        close_handle(self.value)
