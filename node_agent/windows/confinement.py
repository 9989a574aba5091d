"""Starting a program of strangers: as a local user, with a restricted token, with nothing of ours but a pipe.

Unlike `processes.start_in_job` this does not inherit the agent's environment, console or window station, and leaves no
handle of the job to the program.
"""

from __future__ import annotations

import ctypes
import msvcrt
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from ctypes import wintypes
from typing import Any, Final

from node_agent.windows import api, jobs, processes
from node_agent.windows.api import BOOL, DWORD, HANDLE, LPCWSTR, LPVOID, Owned, check, declare
from node_agent.windows.port import Confined, ProcessKey, Program

_LOGON_BATCH: Final = 4
_DISABLE_MAX_PRIVILEGE: Final = 0x1
_WRITE_RESTRICTED: Final = 0x8
_TOKEN_USER: Final = 1
_TOKEN_LOGON_SID: Final = 28
_EVERYONE, _WRITE_RESTRICTED_CODE = "S-1-1-0", "S-1-5-33"
"""What restricted services of Windows have as well: without them no program gets to its console, pipes and sockets."""
_HANDLE_LIST: Final = 0x20002
_USE_STANDARD_HANDLES: Final = 0x100
_CREATE_SUSPENDED: Final = 0x4
_DETACHED: Final = 0x8
"""No console: one would be another process, and would count as such in the job."""
_UNICODE_ENVIRONMENT: Final = 0x400
_EXTENDED: Final = 0x80000
_BELOW_NORMAL: Final = 0x4000
_RESUME_FAILED: Final = 0xFFFFFFFF
_INHERIT: Final = 0x1
_descriptors: Final[Any] = msvcrt
"""Which type checkers elsewhere take to be empty."""


class _SidAndAttributes(ctypes.Structure):
    _fields_ = (("sid", ctypes.c_void_p), ("attributes", DWORD))


class _Groups(ctypes.Structure):
    _fields_ = (("count", DWORD), ("first", _SidAndAttributes))


class _StartUp(ctypes.Structure):
    _fields_ = (
        ("size", DWORD), ("reserved", LPCWSTR), ("desktop", LPCWSTR), ("title", LPCWSTR),
        ("places", DWORD * 7), ("flags", DWORD), ("show", wintypes.WORD), ("more", wintypes.WORD),
        ("even_more", LPVOID), ("input", HANDLE), ("output", HANDLE), ("error", HANDLE), ("attributes", LPVOID),
    )  # fmt: skip


class _Started(ctypes.Structure):
    _fields_ = (("process", HANDLE), ("thread", HANDLE), ("pid", DWORD), ("thread_id", DWORD))


_PHANDLE = ctypes.POINTER(HANDLE)
_PSIZE = ctypes.POINTER(ctypes.c_size_t)
_logon = declare(api.advapi32, "LogonUserW", BOOL, LPCWSTR, LPCWSTR, LPCWSTR, DWORD, DWORD, _PHANDLE)
_restrict = declare(
    api.advapi32, "CreateRestrictedToken",
    BOOL, HANDLE, DWORD, DWORD, LPVOID, DWORD, LPVOID, DWORD, ctypes.POINTER(_SidAndAttributes), _PHANDLE,
)  # fmt: skip
_information = declare(api.advapi32, "GetTokenInformation", BOOL, HANDLE, ctypes.c_int, LPVOID, DWORD, api.PDWORD)
_from_text = declare(api.advapi32, "ConvertStringSidToSidW", BOOL, LPCWSTR, api.PVOID)
_create = declare(
    api.advapi32, "CreateProcessAsUserW",
    BOOL, HANDLE, LPCWSTR, LPVOID, LPVOID, LPVOID, BOOL, DWORD, LPVOID, LPCWSTR, ctypes.POINTER(_StartUp),
    ctypes.POINTER(_Started),
)  # fmt: skip
_prepare_attributes = declare(api.kernel32, "InitializeProcThreadAttributeList", BOOL, LPVOID, DWORD, DWORD, _PSIZE)
_set_attribute = declare(
    api.kernel32, "UpdateProcThreadAttribute", BOOL, LPVOID, DWORD, ctypes.c_size_t, LPVOID, ctypes.c_size_t, LPVOID,
    LPVOID,
)  # fmt: skip
_forget_attributes = declare(api.kernel32, "DeleteProcThreadAttributeList", None, LPVOID)
_set_handle = declare(api.kernel32, "SetHandleInformation", BOOL, HANDLE, DWORD, DWORD)
_resume = declare(api.kernel32, "ResumeThread", DWORD, HANDLE)
_terminate = declare(api.kernel32, "TerminateProcess", BOOL, HANDLE, wintypes.UINT)


def start(program: Program, job: int, user: str, password: str) -> Confined:
    """Raises WindowsCallError; then nothing runs."""
    read, write = os.pipe()
    try:
        with open(os.devnull, "rb") as nothing, _restricted(user, password) as token:  # noqa: PTH123 - a device
            handles = [_descriptors.get_osfhandle(each) for each in (nothing.fileno(), write)]
            for handle in handles:
                check("SetHandleInformation", _set_handle(handle, _INHERIT, _INHERIT))
            key = _start(program, job, token, *handles)
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    return Confined(key, os.fdopen(read, "rb", buffering=0))


@contextmanager
def _restricted(user: str, password: str) -> Iterator[int]:
    """A token of the user that can do less than the user."""
    full, less = HANDLE(), HANDLE()
    check("LogonUser", _logon(user, ".", password, _LOGON_BATCH, 0, ctypes.byref(full)))
    with Owned("LogonUser", full.value) as token, ExitStack() as kept:
        own, logon = _token_data(token, _TOKEN_USER), _token_data(token, _TOKEN_LOGON_SID)
        # TOKEN_USER begins with the pointer to its SID; both point into their own buffers.
        sids = [_SidAndAttributes.from_buffer(own).sid, _Groups.from_buffer(logon).first.sid]
        sids += [kept.enter_context(_sid(each)) for each in (_EVERYONE, _WRITE_RESTRICTED_CODE)]
        restricting = (_SidAndAttributes * len(sids))(*(_SidAndAttributes(sid, 0) for sid in sids))
        flags = _DISABLE_MAX_PRIVILEGE | _WRITE_RESTRICTED
        made = _restrict(token, flags, 0, None, 0, None, len(sids), restricting, ctypes.byref(less))
        check("CreateRestrictedToken", made)
        with Owned("CreateRestrictedToken", less.value) as restricted:
            yield restricted


def _token_data(token: int, kind: int) -> ctypes.Array[ctypes.c_char]:
    size = DWORD()
    _information(token, kind, None, 0, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(max(size.value, ctypes.sizeof(_Groups)))
    check("GetTokenInformation", _information(token, kind, buffer, len(buffer), ctypes.byref(size)))
    return buffer


@contextmanager
def _sid(text: str) -> Iterator[int]:
    made = ctypes.c_void_p()
    check("ConvertStringSidToSid", _from_text(text, ctypes.byref(made)))
    try:
        yield made.value or 0
    finally:
        api.local_free(made)


def _start(program: Program, job: int, token: int, nothing: int, output: int) -> ProcessKey:
    command = ctypes.create_unicode_buffer(subprocess.list2cmdline(program.command))
    environment = ctypes.create_unicode_buffer(environment_block(program.environment))
    flags = _CREATE_SUSPENDED | _DETACHED | _UNICODE_ENVIRONMENT | _EXTENDED | _BELOW_NORMAL
    with _inherited(nothing, output) as attributes:
        start_up = _StartUp(
            size=ctypes.sizeof(_StartUp),
            # Not ours: an empty name asks for a window station of the logon session's own.
            desktop="",
            flags=_USE_STANDARD_HANDLES,
            input=nothing,
            output=output,
            error=output,
            attributes=ctypes.addressof(attributes),
        )
        started = _Started()
        made = _create(
            token, None, command, None, None, True, flags, environment, str(program.folder), ctypes.byref(start_up),
            ctypes.byref(started),
        )  # fmt: skip
        check("CreateProcessAsUser", made)
    with Owned("CreateProcessAsUser", started.process) as process, Owned("its thread", started.thread) as thread:
        try:
            check("AssignProcessToJobObject", jobs.assign(job, process))
            check("ResumeThread", _resume(thread) != _RESUME_FAILED)
            return ProcessKey(started.pid, processes.created(process))
        except BaseException:
            _terminate(process, processes.ENDED_BY_US)
            raise


@contextmanager
def _inherited(*handles: int) -> Iterator[Any]:
    """A list of attributes by which a new process inherits these handles and no others."""
    size = ctypes.c_size_t()
    _prepare_attributes(None, 1, 0, ctypes.byref(size))
    attributes = ctypes.create_string_buffer(size.value)
    check("InitializeProcThreadAttributeList", _prepare_attributes(attributes, 1, 0, ctypes.byref(size)))
    try:
        listed = (HANDLE * len(handles))(*handles)
        done = _set_attribute(attributes, 0, _HANDLE_LIST, listed, ctypes.sizeof(listed), None, None)
        check("UpdateProcThreadAttribute", done)
        yield attributes
    finally:
        _forget_attributes(attributes)


def environment_block(variables: Mapping[str, str]) -> str:
    """As CreateProcess takes it: sorted, each variable with its NUL, and one more at the end."""
    return (
        "".join(f"{name}={value}\0" for name, value in sorted(variables.items(), key=lambda each: each[0].upper()))
        + "\0"
    )
