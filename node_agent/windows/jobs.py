"""Job objects: bounds that hold for a process and all that it starts, and one call that ends them all."""

from __future__ import annotations

import ctypes
from ctypes import wintypes
from typing import Final

from node_agent.windows import api
from node_agent.windows.api import BOOL, DWORD, HANDLE, LPCWSTR, LPVOID, Owned, check, declare, failure
from node_agent.windows.port import JobLimits

ASSIGN: Final = 0x0001
SET: Final = 0x0002
QUERY: Final = 0x0004
TERMINATE: Final = 0x0008
ALL: Final = 0x1F001F

_BASIC_ACCOUNTING: Final = 1
_PROCESS_LIST: Final = 3
_UI_RESTRICTIONS: Final = 4
_EXTENDED_LIMITS: Final = 9
_CPU_RATE: Final = 15
_LIMIT_ACTIVE_PROCESS: Final = 0x0008
_LIMIT_JOB_MEMORY: Final = 0x0200
_DIE_ON_UNHANDLED_EXCEPTION: Final = 0x0400
_KILL_ON_JOB_CLOSE: Final = 0x2000
_EVERYTHING_OF_UI: Final = 0xFF
"""Handles of others' windows, clipboard, system parameters, display settings, global atoms, desktops, shutdown."""
_CPU_RATE_ENABLE: Final = 0x1
_CPU_RATE_HARD_CAP: Final = 0x4
_HUNDREDTHS: Final = 100
_TICKS_PER_SECOND: Final = 10_000_000


class _BasicLimits(ctypes.Structure):
    _fields_ = (
        ("process_time", ctypes.c_int64),
        ("job_time", ctypes.c_int64),
        ("flags", DWORD),
        ("least_working_set", ctypes.c_size_t),
        ("most_working_set", ctypes.c_size_t),
        ("active_processes", DWORD),
        ("affinity", ctypes.c_size_t),
        ("priority", DWORD),
        ("scheduling", DWORD),
    )


class _ExtendedLimits(ctypes.Structure):
    _fields_ = (
        ("basic", _BasicLimits),
        ("io_counters", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


class _CpuRate(ctypes.Structure):
    _fields_ = (("flags", DWORD), ("rate", DWORD))


class _Accounting(ctypes.Structure):
    _fields_ = (
        ("user_time", ctypes.c_int64),
        ("kernel_time", ctypes.c_int64),
        ("period_user_time", ctypes.c_int64),
        ("period_kernel_time", ctypes.c_int64),
        ("page_faults", DWORD),
        ("total_processes", DWORD),
        ("active_processes", DWORD),
        ("terminated_processes", DWORD),
    )


class _SecurityAttributes(ctypes.Structure):
    _fields_ = (("length", DWORD), ("descriptor", LPVOID), ("inherit", BOOL))


_create = declare(api.kernel32, "CreateJobObjectW", HANDLE, ctypes.POINTER(_SecurityAttributes), LPCWSTR)
_open = declare(api.kernel32, "OpenJobObjectW", HANDLE, DWORD, BOOL, LPCWSTR)
_set = declare(api.kernel32, "SetInformationJobObject", BOOL, HANDLE, ctypes.c_int, LPVOID, DWORD)
_query = declare(api.kernel32, "QueryInformationJobObject", BOOL, HANDLE, ctypes.c_int, LPVOID, DWORD, api.PDWORD)
_terminate = declare(api.kernel32, "TerminateJobObject", BOOL, HANDLE, wintypes.UINT)
assign: Final = declare(api.kernel32, "AssignProcessToJobObject", BOOL, HANDLE, HANDLE)


def create(name: str, descriptor: int | None) -> int:
    """A handle of the job with this name, made if need be with this security descriptor. Raises WindowsCallError."""
    attributes = _SecurityAttributes(ctypes.sizeof(_SecurityAttributes), descriptor, False)
    return int(check("CreateJobObject", _create(ctypes.byref(attributes) if descriptor else None, name)))


def open_job(name: str, access: int) -> int | None:
    """A handle of an existing job; None when there is none. Raises WindowsCallError."""
    handle = _open(access, False, name)
    if handle:
        return int(handle)
    if api.system.get_last_error() == api.ERROR_FILE_NOT_FOUND:
        return None
    raise failure("OpenJobObject")


def set_limits(job: int, limits: JobLimits) -> None:
    """Replace all limits.

    KILL_ON_JOB_CLOSE is for code of strangers alone: trading goes on when the agent and its handles are gone.
    """
    extended = _ExtendedLimits()
    if limits.memory is not None:
        extended.basic.flags |= _LIMIT_JOB_MEMORY
        extended.job_memory = limits.memory
    if limits.processes is not None:
        extended.basic.flags |= _LIMIT_ACTIVE_PROCESS
        extended.basic.active_processes = limits.processes
    if limits.confined:
        extended.basic.flags |= _KILL_ON_JOB_CLOSE | _DIE_ON_UNHANDLED_EXCEPTION
        refused = DWORD(_EVERYTHING_OF_UI)
        check("SetInformationJobObject", _set(job, _UI_RESTRICTIONS, ctypes.byref(refused), ctypes.sizeof(refused)))
    check("SetInformationJobObject", _set(job, _EXTENDED_LIMITS, ctypes.byref(extended), ctypes.sizeof(extended)))
    if limits.cpu_percent is not None:
        rate = _CpuRate(_CPU_RATE_ENABLE | _CPU_RATE_HARD_CAP, max(1, round(limits.cpu_percent * _HUNDREDTHS)))
        check("SetInformationJobObject", _set(job, _CPU_RATE, ctypes.byref(rate), ctypes.sizeof(rate)))


def limits_of(job: int) -> JobLimits:
    """As Windows keeps them. Raises WindowsCallError."""
    extended, rate = _ExtendedLimits(), _CpuRate()
    check("QueryInformationJobObject", _ask(job, _EXTENDED_LIMITS, extended))
    has_rate = _ask(job, _CPU_RATE, rate) and rate.flags & _CPU_RATE_ENABLE
    flags = extended.basic.flags
    return JobLimits(
        memory=extended.job_memory if flags & _LIMIT_JOB_MEMORY else None,
        cpu_percent=rate.rate / _HUNDREDTHS if has_rate else None,
        processes=extended.basic.active_processes if flags & _LIMIT_ACTIVE_PROCESS else None,
        confined=bool(flags & _KILL_ON_JOB_CLOSE),
    )


def peak_memory(job: int) -> int:
    """Most bytes that its processes have ever had committed together. Raises WindowsCallError."""
    extended = _ExtendedLimits()
    check("QueryInformationJobObject", _ask(job, _EXTENDED_LIMITS, extended))
    return int(extended.peak_job_memory)


def cpu_seconds(job: int) -> float:
    """Of all processes that the job ever had. Raises WindowsCallError."""
    accounting = _Accounting()
    check("QueryInformationJobObject", _ask(job, _BASIC_ACCOUNTING, accounting))
    return float(accounting.user_time + accounting.kernel_time) / _TICKS_PER_SECOND


def processes(job: int) -> tuple[int, ...]:
    """Pids of what runs in it. Raises WindowsCallError."""
    room = 64
    while True:

        class _Pids(ctypes.Structure):
            _fields_ = (("assigned", DWORD), ("listed", DWORD), ("pids", ctypes.c_size_t * room))

        found = _Pids()
        if _ask(job, _PROCESS_LIST, found):
            return tuple(found.pids[: found.listed])
        if api.system.get_last_error() != api.ERROR_MORE_DATA:
            raise failure("QueryInformationJobObject")
        room *= 4


def terminate(job: int, code: int) -> None:
    """End all its processes with this exit code. Raises WindowsCallError."""
    check("TerminateJobObject", _terminate(job, code))


def _ask(job: int, kind: int, into: ctypes.Structure) -> bool:
    return bool(_query(job, kind, ctypes.byref(into), ctypes.sizeof(into), None))


def opened(name: str, access: int) -> Owned | None:
    """`open_job`, closed at the end of a `with`."""
    handle = open_job(name, access)
    return None if handle is None else Owned("OpenJobObject", handle)
