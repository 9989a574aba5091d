"""Local users of the machine, and who is signed in."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Final

from node_agent.windows import api
from node_agent.windows.api import BOOL, DWORD, HANDLE, LPCWSTR, LPVOID, check, declare, failure
from node_agent.windows.port import WindowsCallError
from node_agent.windows.rights import sid_text

_USER_EXISTS: Final = 2224
_USER_NOT_FOUND: Final = 2221
_ALREADY_MEMBER: Final = 1378
_NO_SUCH_NAME: Final = 1332
_ORDINARY_USER: Final = 1
_FLAGS: Final = 0x0001 | 0x0040 | 0x0200 | 0x10000
"""A normal account whose password does not expire and cannot be changed by the user; SCRIPT is required."""
_PASSWORD_LEVEL: Final = 1003
_MEMBER_BY_NAME_LEVEL: Final = 3
_SESSION_USER: Final = 5
_COMMENT: Final = "Runs a terminal or a bot of the MT5 farm"


class _UserInfo(ctypes.Structure):
    _fields_ = (
        ("name", LPCWSTR), ("password", LPCWSTR), ("password_age", DWORD), ("privilege", DWORD),
        ("home", LPCWSTR), ("comment", LPCWSTR), ("flags", DWORD), ("script", LPCWSTR),
    )  # fmt: skip


class _Process(ctypes.Structure):
    _fields_ = (("session", DWORD), ("pid", DWORD), ("name", LPCWSTR), ("sid", ctypes.c_void_p))


class _Session(ctypes.Structure):
    _fields_ = (("id", DWORD), ("station", LPCWSTR), ("state", ctypes.c_int))


_add = declare(api.netapi32, "NetUserAdd", DWORD, LPCWSTR, DWORD, LPVOID, api.PDWORD)
_set = declare(api.netapi32, "NetUserSetInfo", DWORD, LPCWSTR, LPCWSTR, DWORD, LPVOID, api.PDWORD)
_delete = declare(api.netapi32, "NetUserDel", DWORD, LPCWSTR, LPCWSTR)
_lookup = declare(
    api.advapi32, "LookupAccountNameW",
    BOOL, LPCWSTR, LPCWSTR, LPVOID, api.PDWORD, LPVOID, api.PDWORD, ctypes.POINTER(ctypes.c_int),
)  # fmt: skip
_sessions = declare(
    api.wtsapi32, "WTSEnumerateSessionsW",
    BOOL, HANDLE, DWORD, DWORD, ctypes.POINTER(ctypes.POINTER(_Session)), api.PDWORD,
)  # fmt: skip
_processes = declare(
    api.wtsapi32, "WTSEnumerateProcessesW",
    BOOL, HANDLE, DWORD, DWORD, ctypes.POINTER(ctypes.POINTER(_Process)), api.PDWORD,
)  # fmt: skip
_session_information = declare(
    api.wtsapi32, "WTSQuerySessionInformationW",
    BOOL, HANDLE, DWORD, ctypes.c_int, ctypes.POINTER(ctypes.c_wchar_p), api.PDWORD,
)  # fmt: skip
_free = declare(api.wtsapi32, "WTSFreeMemory", None, LPVOID)


def ensure_user(name: str, password: str, groups: Sequence[str]) -> str:
    """Raises WindowsCallError; also for a group that is missing."""
    info = _UserInfo(name, password, 0, _ORDINARY_USER, None, _COMMENT, _FLAGS, None)
    code = _add(None, 1, ctypes.byref(info), None)
    if code == _USER_EXISTS:
        code = _set(None, name, _PASSWORD_LEVEL, ctypes.byref(ctypes.c_wchar_p(password)), None)
    if code:
        raise failure("NetUserAdd", code)
    for group in groups:
        code = _join(group, name)
        if code not in {0, _ALREADY_MEMBER}:
            raise failure(f"NetLocalGroupAddMembers {group}", code)
    return sid_of(name)


def _join(group: str, name: str) -> int:
    # Looked up only where it is needed: Wine does not export it.
    add = declare(api.netapi32, "NetLocalGroupAddMembers", DWORD, LPCWSTR, LPCWSTR, DWORD, LPVOID, DWORD)
    return int(add(None, group, _MEMBER_BY_NAME_LEVEL, ctypes.byref(ctypes.c_wchar_p(name)), 1))


def remove_user(name: str) -> None:
    """Raises WindowsCallError."""
    code = _delete(None, name)
    if code not in {0, _USER_NOT_FOUND}:
        raise failure("NetUserDel", code)


def sid_of(name: str) -> str:
    """Of a local user or group. Raises WindowsCallError."""
    size, domain_size, kind = DWORD(256), DWORD(256), ctypes.c_int()
    sid, domain = ctypes.create_string_buffer(256), ctypes.create_unicode_buffer(256)
    found = _lookup(None, name, sid, ctypes.byref(size), domain, ctypes.byref(domain_size), ctypes.byref(kind))
    check("LookupAccountName", found)
    return sid_text(ctypes.cast(sid, ctypes.c_void_p))


def processes_of(name: str) -> tuple[int, ...]:
    """Pids of all that runs as this local user. Raises WindowsCallError."""
    try:
        sid = sid_of(name)
    except WindowsCallError as error:
        if error.code != _NO_SUCH_NAME:
            raise
        return ()
    listed: Any = ctypes.POINTER(_Process)()
    count = DWORD()
    check("WTSEnumerateProcesses", _processes(None, 0, 1, ctypes.byref(listed), ctypes.byref(count)))
    try:
        return tuple(
            int(each.pid) for each in listed[: count.value] if each.sid and sid_text(ctypes.c_void_p(each.sid)) == sid
        )
    finally:
        _free(listed)


def session_of(user: str) -> int | None:
    """Active or disconnected, so its programs run. Raises WindowsCallError."""
    listed: Any = ctypes.POINTER(_Session)()
    count = DWORD()
    check("WTSEnumerateSessions", _sessions(None, 0, 1, ctypes.byref(listed), ctypes.byref(count)))
    try:
        for session in listed[: count.value]:
            if _user_in(session.id).casefold() == user.casefold():
                return int(session.id)
        return None
    finally:
        _free(listed)


def _user_in(session: int) -> str:
    text, size = ctypes.c_wchar_p(), DWORD()
    if not _session_information(None, session, _SESSION_USER, ctypes.byref(text), ctypes.byref(size)):
        return ""  # it has just ended
    try:
        return text.value or ""
    finally:
        _free(text)
