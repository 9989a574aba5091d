"""A terminal that starts and never answers: the package hangs in it, and the watchdog ends that."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from mt5_bridge.backends import native as native_backend
from mt5_bridge.backends.native import NativeBackend
from tests.conformance.native.machine import WindowsMachine

NO_ANSWER = "Pipe server didn't answer in 60 sec"


def test_a_call_that_does_not_come_back_is_a_timeout_and_the_next_one_works(
    native: NativeBackend, silent_program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_backend, "_GRACE_SECONDS", 0.5)
    host = native.host_pid
    assert native.call("initialize", (silent_program,), {"timeout": 1000}) is False
    assert native.last_error() == (-10005, "IPC timeout")
    assert not Path(f"/proc/{host}").exists()
    assert native.call("version", (), {}) == (0, 0, "")
    assert native.last_error() == (-10004, "No IPC connection")


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
    assert lines == ["False (-10005, 'IPC timeout')", "(0, 0, '') (-10004, 'No IPC connection')"]


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
