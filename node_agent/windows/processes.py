"""Processes: started inside a job, told apart by pid and creation time, asked to close, ended."""

from __future__ import annotations

import ctypes
import os
import subprocess
from ctypes import wintypes
from typing import Final

from node_agent.detached import start_detached
from node_agent.windows import api, jobs
from node_agent.windows.api import BOOL, DWORD, HANDLE, Owned, check, declare, failure
from node_agent.windows.port import ProcessKey, Program

_TERMINATE: Final = 0x0001
_DUPLICATE_HANDLE: Final = 0x0040
_SET_QUOTA: Final = 0x0100
_SUSPEND_RESUME: Final = 0x0800
_QUERY_LIMITED: Final = 0x1000
_SYNCHRONIZE: Final = 0x100000
_CREATE_SUSPENDED: Final = 0x4
_STILL_RUNNING: Final = 258  # WAIT_TIMEOUT
_WM_CLOSE: Final = 0x0010
ENDED_BY_US: Final = 1
"""Exit code of a process that we end."""

_open = declare(api.kernel32, "OpenProcess", HANDLE, DWORD, BOOL, DWORD)
_wait = declare(api.kernel32, "WaitForSingleObject", DWORD, HANDLE, DWORD)
_terminate = declare(api.kernel32, "TerminateProcess", BOOL, HANDLE, wintypes.UINT)
_exit_code = declare(api.kernel32, "GetExitCodeProcess", BOOL, HANDLE, api.PDWORD)
_FILETIME = ctypes.POINTER(wintypes.FILETIME)
_times = declare(api.kernel32, "GetProcessTimes", BOOL, HANDLE, _FILETIME, _FILETIME, _FILETIME, _FILETIME)
_duplicate = declare(
    api.kernel32, "DuplicateHandle", BOOL, HANDLE, HANDLE, HANDLE, ctypes.POINTER(HANDLE), DWORD, BOOL, DWORD
)
_resume = declare(api.ntdll, "NtResumeProcess", ctypes.c_long, HANDLE)


class _MemoryCounters(ctypes.Structure):
    _fields_ = (
        ("size", DWORD), ("page_faults", DWORD), ("peak", ctypes.c_size_t), ("working_set", ctypes.c_size_t),
        ("others", ctypes.c_size_t * 6),
    )  # fmt: skip


_memory = declare(api.kernel32, "K32GetProcessMemoryInfo", BOOL, HANDLE, ctypes.POINTER(_MemoryCounters), DWORD)
_EachWindow = api.system.WINFUNCTYPE(BOOL, wintypes.HWND, wintypes.LPARAM)
_enumerate_windows = declare(api.user32, "EnumWindows", BOOL, _EachWindow, wintypes.LPARAM)
_window_process = declare(api.user32, "GetWindowThreadProcessId", DWORD, wintypes.HWND, api.PDWORD)
_post = declare(api.user32, "PostMessageW", BOOL, wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPARAM)


def opened(pid: int, access: int) -> Owned | None:
    """A handle of the process; None when there is no such process. Raises WindowsCallError."""
    handle = _open(access | _QUERY_LIMITED | _SYNCHRONIZE, False, pid)
    if handle:
        return Owned("OpenProcess", handle)
    if api.system.get_last_error() == api.ERROR_INVALID_PARAMETER:
        return None
    raise failure("OpenProcess")


def is_over(process: int) -> bool:
    """Whether the process behind a handle has ended."""
    return bool(_wait(process, 0) != _STILL_RUNNING)


def exit_code(process: int) -> int:
    """Of a process that has ended. Raises WindowsCallError."""
    code = DWORD()
    check("GetExitCodeProcess", _exit_code(process, ctypes.byref(code)))
    return code.value


def created(process: int) -> int:
    """When it was made, hundreds of nanoseconds since 1601. Raises WindowsCallError."""
    times = [wintypes.FILETIME() for _ in range(4)]
    check("GetProcessTimes", _times(process, *(ctypes.byref(time) for time in times)))
    return (times[0].dwHighDateTime << 32) | times[0].dwLowDateTime


def key_of(pid: int) -> ProcessKey | None:
    """The running process that has this pid. Raises WindowsCallError."""
    found = opened(pid, 0)
    if found is None:
        return None
    with found as process:
        return None if is_over(process) else ProcessKey(pid, created(process))


def start_in_job(program: Program, job: int) -> ProcessKey:
    """Raises OSError when the program cannot be started, WindowsCallError when it cannot be put into the job."""
    started = _start_suspended(program)
    found = opened(started.pid, _TERMINATE | _DUPLICATE_HANDLE | _SET_QUOTA | _SUSPEND_RESUME)
    if found is None:
        raise failure("OpenProcess")
    with found as process:
        try:
            check("AssignProcessToJobObject", jobs.assign(job, process))
            _give_job(process, job)
            _let_run(process)
            return ProcessKey(started.pid, created(process))
        except BaseException:
            _terminate(process, ENDED_BY_US)
            raise
        finally:
            # Nobody waits for it through this object, and its end must not be complained about.
            started.returncode = 0


def _start_suspended(program: Program) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **program.environment}
    if program.output is None:
        return start_detached(program.command, environment, subprocess.DEVNULL, program.folder, _CREATE_SUSPENDED)
    with program.output.open("ab") as output:
        return start_detached(program.command, environment, output.fileno(), program.folder, _CREATE_SUSPENDED)


def _let_run(process: int) -> None:
    if status := _resume(process):
        raise failure("NtResumeProcess", status & 0xFFFFFFFF)


def _give_job(process: int, job: int) -> None:
    """Let the process hold its own job, with the right to look at it only."""
    theirs = HANDLE()
    own = api.current_process()
    check("DuplicateHandle", _duplicate(own, job, process, ctypes.byref(theirs), jobs.QUERY, False, 0))


def terminate(process: ProcessKey) -> None:
    """Raises WindowsCallError when it runs on."""
    found = opened(process.pid, _TERMINATE)
    if found is None:
        return
    with found as handle:
        if not is_over(handle) and created(handle) == process.created and not _terminate(handle, ENDED_BY_US):
            error = failure("TerminateProcess")
            if not is_over(handle):
                raise error


def working_set(pid: int) -> int:
    """Bytes of physical memory; 0 when it has gone or does not say."""
    found = opened(pid, 0)
    if found is None:
        return 0
    with found as process:
        counters = _MemoryCounters(ctypes.sizeof(_MemoryCounters))
        return counters.working_set if _memory(process, ctypes.byref(counters), ctypes.sizeof(counters)) else 0


def post_close(pid: int) -> int:
    """WM_CLOSE to each top-level window of the process on this desktop; gives their number."""
    windows: list[int] = []

    def look(window: int, _: int) -> bool:
        owner = DWORD()
        _window_process(window, ctypes.byref(owner))
        if owner.value == pid:
            windows.append(window)
        return True

    _enumerate_windows(_EachWindow(look), 0)
    return sum(bool(_post(window, _WM_CLOSE, 0, 0)) for window in windows)
