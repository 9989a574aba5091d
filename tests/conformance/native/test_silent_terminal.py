"""A terminal that starts and never answers: the package hangs in it, and the watchdog ends that."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil
import pytest

from mt5_bridge.backends import native as native_backend
from mt5_bridge.backends.native import NativeBackend
from tests.conformance.native.machine import WindowsMachine

NO_ANSWER = "Pipe server didn't answer in 60 sec"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_backend, "_GRACE_SECONDS", 0.5)


def running(program: str) -> list[tuple[int, str]]:
    """Process ids and command lines, without those that have ended."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if program in line and "python" not in line:
            found.append((process.info["pid"], line.rstrip()))
    return found


@pytest.mark.usefixtures("impatient")
def test_a_call_that_does_not_come_back_is_a_timeout_and_the_next_one_works(
    native: NativeBackend, silent_program: str
) -> None:
    host = native.host_pid
    assert native.call("initialize", (silent_program,), {"timeout": 1000}) is False
    assert native.last_error() == (-10003, "IPC initialize failed, Pipe server didn't answer in time")
    assert not Path(f"/proc/{host}").exists()
    assert native.call("version", (), {}) == (0, 0, "")
    assert native.last_error() == (-10004, "No IPC connection")


@pytest.mark.usefixtures("impatient")
def test_a_program_that_the_package_starts_sees_no_credentials_and_outlives_the_host(
    native: NativeBackend, silent_program: str
) -> None:
    before = set(running("terminal64.exe"))
    account = {"login": 5001, "password": "secret-password", "server": "MT5Farm-Demo"}
    assert native.call("initialize", (silent_program,), {"portable": True, "timeout": 1000} | account) is False
    (started,) = set(running("terminal64.exe")) - before
    assert started[1].endswith("/portable")
    assert not any(str(value) in started[1] for value in account.values())


def test_the_same_on_windows(machine: WindowsMachine, silent_program: str) -> None:
    # The worker's side of the pipes runs in the Windows Python, too, where pipes cannot be polled.
    program = f"""
from mt5_bridge.backends import native
native._GRACE_SECONDS = 0.5
backend = native.NativeBackend({{}})
print(backend.call("initialize", ({silent_program!r},), {{"timeout": 1000}}), backend.last_error(), flush=True)
print(backend.call("version", (), {{}}), backend.last_error(), flush=True)
backend.close()
"""
    with machine.start("-c", program) as front:
        # Line by line: the silent program has inherited the other end and keeps it open.
        lines = [front.stdout.readline().decode().strip() for _ in range(2)] if front.stdout else []
        front.kill()
    silent = (-10003, "IPC initialize failed, Pipe server didn't answer in time")
    assert lines == [f"False {silent}", "(0, 0, '') (-10004, 'No IPC connection')"]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_left_alone_the_package_takes_100_seconds_whatever_its_timeout(
    machine: WindowsMachine, silent_program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reason for all of this. Should a newer package keep its timeout, this says so.
    monkeypatch.setattr(native_backend, "seconds", lambda function, kwargs: 170.0)
    with contextlib.closing(NativeBackend(machine.backend_options)) as backend:
        started = time.monotonic()
        assert backend.call("initialize", (silent_program,), {"timeout": 1000}) is False
        assert time.monotonic() - started > 60
        code, text = backend.last_error()
    assert code == -10003
    assert NO_ANSWER in text
