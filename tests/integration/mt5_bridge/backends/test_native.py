"""The native backend with a stand-in for the official package: a host that hangs, dies or misbehaves costs only itself.

The real package takes these tests' place in tests/conformance/native where Wine is installed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mt5_bridge.backends import host_process, native, open_backend
from mt5_bridge.backends.native import NativeBackend, seconds
from mt5_bridge.backends.native_wire import HEADER, pack
from mt5_bridge.codec import CodecError
from mt5_bridge.structs import RATES_DTYPE, TradePosition
from tests.bridge_doubles import eventually

ROOT = Path(__file__).parents[4]
PACKAGE = """
    import os, subprocess, sys, time
    import numpy as np
    from mt5_bridge.structs import RATES_DTYPE, TradePosition

    __version__ = "5.0.1"
    _error = (0, "")

    def last_error():
        return _error

    def initialize(*args, **kwargs):
        global _error
        _error = (1, repr((args, sorted(kwargs.items()))))
        if "never" in args:
            # As a terminal that the package has started: it inherits what it can, and stays.
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
            with open(os.environ["CHILD"], "w") as file:
                file.write(str(child.pid))
            time.sleep(60)
        return True

    def shutdown():
        return True

    def version():
        print("to standard output, which carries frames")
        return 500, 4000, "1 Jan 2026"

    def account_info():
        os._exit(9)

    def terminal_info():
        open(os.environ["CHILD"], "w").close()
        time.sleep(60)

    def positions_get(**kwargs):
        return tuple(TradePosition(range(19)) for _ in range(3))

    def copy_rates_from_pos(symbol, timeframe, start, count):
        bars = np.zeros(count, RATES_DTYPE)
        bars["time"] = np.arange(count)
        return bars

    def symbol_info(name):
        global _error
        _error = (-2, "Invalid arguments")
        raise SystemError("built-in") from TypeError("cause")

    def symbols_total():
        return object()
"""


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "MetaTrader5.py").write_text(textwrap.dedent(PACKAGE))
    child = tmp_path / "child"
    return {"environment": {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "CHILD": str(child)}}


@pytest.fixture(params=["polled pipes", "pipes read by a thread, as on Windows"])
def backend(
    request: pytest.FixtureRequest, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[NativeBackend]:
    if "thread" in request.param:
        monkeypatch.setattr(host_process, "_PolledAnswers", host_process._AnswersByThread)
    with contextlib.closing(NativeBackend(options)) as backend:
        yield backend


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "seconds", lambda function, kwargs: 0.3)


def is_running(pid: int | None) -> bool:
    assert pid is not None
    return Path(f"/proc/{pid}").exists()


def test_values_and_errors_come_as_the_package_gives_them(backend: NativeBackend) -> None:
    assert backend.last_error() == (0, "")
    assert backend.call("initialize", ("C:\\mt5",), {"timeout": 5}) is True
    assert backend.last_error() == (1, repr((("C:\\mt5",), [("timeout", 5)])))
    positions = backend.call("positions_get", (), {})
    assert positions == (TradePosition(range(19)),) * 3
    assert type(positions[0]) is TradePosition


def test_arrays_larger_than_the_pipe_come_whole(backend: NativeBackend) -> None:
    for count in (200_000, 1, 0):
        bars = backend.call("copy_rates_from_pos", ("EURUSD", 1, 0, count), {})
        assert bars.dtype == RATES_DTYPE
        assert list(bars["time"]) == list(range(count))
        assert not bars.flags.writeable
        assert backend.last_error() == (0, "")


def test_what_the_package_raises_is_raised_with_its_cause(backend: NativeBackend) -> None:
    with pytest.raises(SystemError, match="built-in") as raised:
        backend.call("symbol_info", ("X",), {})
    assert isinstance(raised.value.__cause__, TypeError)
    assert backend.last_error() == (-2, "Invalid arguments")


def test_what_the_package_prints_does_not_break_the_frames(backend: NativeBackend) -> None:
    assert [backend.call("version", (), {}) for _ in range(3)] == [(500, 4000, "1 Jan 2026")] * 3


def test_the_configured_start_is_used_unless_the_caller_says_otherwise(options: dict[str, Any]) -> None:
    backend = NativeBackend(options | {"path": "C:\\mt5\\terminal64.exe", "portable": True, "timeout": 9})
    with contextlib.closing(backend):
        backend.call("initialize", (), {"timeout": 5})
        given = [("path", "C:\\mt5\\terminal64.exe"), ("portable", True), ("timeout", 5)]
        assert backend.last_error() == (1, repr(((), given)))


def test_helpers_and_unknown_names_cannot_be_called(backend: NativeBackend) -> None:
    for name in ("Buy", "__import__", "TIMEFRAME_M1"):
        with pytest.raises(KeyError):
            backend.call(name, (), {})


def test_values_that_cannot_cross_are_refused_on_both_sides_and_cost_nothing(backend: NativeBackend) -> None:
    pid = backend.host_pid
    with pytest.raises(CodecError):
        backend.call("symbol_info", (object(),), {})
    with pytest.raises(RuntimeError, match="cannot cross"):
        backend.call("symbols_total", (), {})
    assert backend.call("version", (), {})[0] == 500
    assert backend.host_pid == pid


@pytest.mark.usefixtures("impatient")
def test_a_call_that_hangs_costs_the_host_and_not_what_it_has_started(
    backend: NativeBackend, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    pid = backend.host_pid
    assert backend.call("initialize", ("never",), {"timeout": 1}) is False
    assert backend.last_error() == (-10003, "IPC initialize failed, Pipe server didn't answer in time")
    assert not is_running(pid)
    child = int(Path(options["environment"]["CHILD"]).read_text())
    try:
        assert is_running(child)
    finally:
        os.kill(child, signal.SIGKILL)
    assert "initialize did not come back" in caplog.text


@pytest.mark.usefixtures("impatient")
def test_after_a_call_that_hangs_the_next_one_has_another_host(backend: NativeBackend) -> None:
    pid = backend.host_pid
    assert backend.call("terminal_info", (), {}) is None
    assert backend.last_error() == (-10002, "IPC recv failed")
    assert backend.call("last_error", (), {}) == (-10002, "IPC recv failed")
    assert backend.host_pid is None
    assert backend.call("initialize", (), {}) is True
    assert backend.host_pid not in {None, pid}


def test_a_host_that_dies_during_a_call_is_a_broken_link(backend: NativeBackend) -> None:
    assert backend.call("account_info", (), {}) is None
    assert backend.last_error() == (-10002, "IPC recv failed")
    assert backend.call("version", (), {})[0] == 500


def test_a_host_that_died_between_calls_is_a_broken_link(backend: NativeBackend) -> None:
    assert backend.host_pid is not None
    os.kill(backend.host_pid, signal.SIGKILL)
    assert backend.call("version", (), {}) == (0, 0, "")
    assert backend.last_error() == (-10002, "IPC recv failed")


def test_closing_ends_the_host(options: dict[str, Any]) -> None:
    backend = NativeBackend(options)
    pid = backend.host_pid
    backend.close()
    backend.close()
    assert not is_running(pid)


STOPPED = """
    import os, threading, time
    from mt5_bridge.backends.native import NativeBackend
    backend = NativeBackend({})
    print(backend.host_pid, flush=True)
"""
ENDINGS = {
    "killed": "time.sleep(60)",
    "ends while a call hangs": """
    threading.Thread(target=backend.call, args=("terminal_info", (), {}), daemon=True).start()
    while not os.path.exists(os.environ["CHILD"]):
        time.sleep(0.01)
""",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_host_does_not_outlive_its_worker(ending: str, options: dict[str, Any]) -> None:
    program = textwrap.dedent(f"{STOPPED}    {ending}")
    environment = os.environ | options["environment"]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        if "sleep(60)" in ending:
            worker.kill()
        assert worker.wait(30) == (-signal.SIGKILL if "sleep(60)" in ending else 0)
    eventually(lambda: not is_running(pid))


def host_that(says: str) -> dict[str, Any]:
    return {"command": [sys.executable, "-c", f"import sys, time\n{textwrap.dedent(says)}"]}


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ({"command": ["/no/such/program"]}, "cannot be started"),
        (host_that("sys.exit('out of memory')"), "out of memory"),
        (host_that("print('hello' * 5, flush=True)"), "protocol"),
        (host_that("sys.stdout.buffer.write(bytes([0, 0, 0, 2, 0, 0, 0, 0, 40, 40]))"), "protocol"),
        (host_that("sys.stdout.buffer.write(bytes([0, 0]))"), "has ended"),
    ],
)
def test_a_host_that_cannot_start_says_why(command: dict[str, Any], reason: str) -> None:
    with pytest.raises(ImportError, match=reason):
        open_backend("native", command)


def test_without_the_official_package_the_host_says_so(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "MetaTrader5.py").write_text("raise ImportError('DLL load failed')")
    with pytest.raises(ImportError, match="the official package cannot be imported: DLL load failed"):
        NativeBackend(options)


def test_a_host_that_cannot_be_replaced_is_a_missing_link(
    backend: NativeBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend.call("account_info", (), {})
    (tmp_path / "MetaTrader5.py").write_text("raise ImportError('gone')")
    caplog.set_level(logging.ERROR)
    assert backend.call("initialize", (), {}) is False
    assert backend.last_error() == (-10004, "No IPC connection")
    assert "gone" in caplog.text


ANSWERS = {
    "nonsense": b"\xff" * 100,
    "no answer": pack(("maybe", 1)),
    "an unknown struct": pack(("ok", ("s", "Nothing", (1,)), 1, "Success")),
    "half an answer": HEADER.pack(1000, 0) + b"(",
    "an array of nothing known": pack(("array", "bonds", 1, "Success"), 60) + b"\0" * 60,
    "an array with half a row": pack(("array", "rates", 1, "Success"), 90) + b"\0" * 90,
    "an array that ends": pack(("array", "rates", 1, "Success"), 120) + b"\0" * 60,
    "a tail beyond all measure": HEADER.pack(10, 2**32 - 1),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_cannot_be_read_is_a_broken_link(answer: bytes) -> None:
    greeting = pack(("ready", "5"))
    host = f"""
        sys.stdout.buffer.write({greeting!r})
        sys.stdout.buffer.flush()
        sys.stdin.buffer.read(4)
        sys.stdout.buffer.write({answer!r})
    """
    backend = NativeBackend(host_that(host))
    assert backend.call("symbols_total", (), {}) is None
    assert backend.last_error() == (-10002, "IPC recv failed")
    assert backend.host_pid is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"ipc": "unix:/x"},
        {"command": "python"},
        {"command": []},
        {"command": [1]},
        {"environment": {"A": 1}},
        {"timeout": True},
        {"path": 5},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="native backend"):
        NativeBackend(wrong)


def test_a_host_is_killed_before_the_worker_would_give_up_itself() -> None:
    assert seconds("symbol_info", {}) == 28.0
    assert seconds("initialize", {"timeout": 10_000}) == 15.0
    assert seconds("initialize", {"timeout": 10_000_000}) == 118.0
    assert seconds("initialize", {"timeout": "soon"}) == 118.0
    assert seconds("login", {}) == 65.0


def test_a_host_takes_no_arguments() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mt5_bridge.native_host", "x"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert "no arguments" in done.stderr
