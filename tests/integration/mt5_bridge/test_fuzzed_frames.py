"""Whatever an authenticated client sends, the worker lives, stays small, and serves the others."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rpyc.core import brine, consts

from mt5_bridge import auth, transport
from mt5_bridge.client import BridgeError, MetaTrader5
from mt5_bridge.order_packing import pack_order
from tests.bridge_doubles import LOGIN, TOKEN, eventually
from tests.fuzzed_streams import send_and_drain, streams

GROWTH_MB = 50

SERVER = """
import sys
from pathlib import Path
from tests.bridge_doubles import RunningWorker, StubBackend
worker = RunningWorker(StubBackend(), Path(sys.argv[1]))
worker.start()
print("ready", flush=True)
sys.stdin.read()
worker.stop()
"""


class WorkerProcess:
    """A worker in a process of its own, so that a crash or growth can be seen."""

    def __init__(self, folder: Path) -> None:
        self.path = f"{folder}/w.sock"
        command = [sys.executable, "-c", SERVER, str(folder)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.child.stdout is not None
        assert self.child.stdout.readline() == "ready\n"
        with self.client() as mt5:
            eventually(lambda: mt5.describe()["connected"])
        self.size_at_first = self.megabytes()

    def client(self, scope: str = "trade") -> MetaTrader5:
        return MetaTrader5(f"unix:{self.path}", token=TOKEN, scope=scope, epoch=7, principal="user:usr_1")

    def greeted(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(self.path)
        auth.greet(sock, {"token": TOKEN, "scope": "trade", "epoch": 7, "principal": "user:usr_1"})
        sock.settimeout(10)
        return sock

    def megabytes(self) -> float:
        return int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def assert_sound(self) -> None:
        assert self.child.poll() is None
        with self.client() as mt5:
            assert mt5.account_info().login == LOGIN
        assert self.megabytes() - self.size_at_first < GROWTH_MB

    def stop(self) -> None:
        self.child.communicate(timeout=20)


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as folder:
        process = WorkerProcess(Path(folder))
        yield process
        process.assert_sound()
        process.stop()
        assert process.child.returncode == 0


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=streams, cut=st.integers(0, 40))
def test_random_frames_end_in_answers_or_a_clean_close(worker: WorkerProcess, data: bytes, cut: int) -> None:
    send_and_drain(worker.greeted(), data[: max(1, len(data) - cut)])
    assert worker.child.poll() is None


def test_after_all_that_others_are_served_and_little_was_kept(worker: WorkerProcess) -> None:
    worker.assert_sound()


@pytest.mark.parametrize("kind", [0, 2])
def test_a_huge_length_is_refused_before_it_is_read(worker: WorkerProcess, kind: int) -> None:
    for length in (2**32 - 1, transport.REQUEST_LIMIT + 1):
        head = transport.FRAME.pack(length, kind)
        assert send_and_drain(worker.greeted(), head + b"x" * 1000, ends=False) == b""
    worker.assert_sound()


def test_frames_that_never_end_keep_nothing_and_hold_nobody_up(worker: WorkerProcess) -> None:
    halves = [worker.greeted() for _ in range(20)]
    for sock in halves:
        sock.sendall(transport.FRAME.pack(transport.REQUEST_LIMIT, transport.CALL) + b"[" * 200_000)
    worker.assert_sound()
    for sock in halves:
        sock.close()
    worker.assert_sound()


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 250_000,
        b"[[],[],[" + b"[]," * 80_000,
        b"9" * 200_000,
        b'["symbol_info_tick",[' + b'"x",' * 60_000,
        b"\xff\xfe",
    ],
)
def test_json_that_blows_up_is_refused_in_one_answer(worker: WorkerProcess, body: bytes) -> None:
    for _ in range(5):
        answer = send_and_drain(worker.greeted(), transport.frame(transport.CALL, body))
        kind, content = answer[4], answer[transport.FRAME.size :]
        assert kind == transport.VALUE
        assert transport.unpack_answer(kind, content)[0] == "refused"
    worker.assert_sound()


_LONG_ID = pack_order({"symbol": "EURUSD"}, "x" * 200) or b""


@pytest.mark.parametrize("body", [b"\0", b"\xff" * 200, b"\x02\0\0\0", b"\x04\0\0\0" + b"x" * 200_000, _LONG_ID])
def test_orders_that_are_none_are_refused_in_one_answer(worker: WorkerProcess, body: bytes) -> None:
    answer = send_and_drain(worker.greeted(), transport.frame(transport.ORDER, body))
    kind, content = answer[4], answer[transport.FRAME.size :]
    assert kind == transport.VALUE
    status, payload, *_ = transport.unpack_answer(kind, content)
    assert (status, payload[0]) == ("refused", "malformed_call")
    worker.assert_sound()


def test_rpyc_messages_that_a_client_never_sends_end_the_session(worker: WorkerProcess) -> None:
    for kind in (consts.MSG_REPLY, consts.MSG_EXCEPTION, 9):
        data = brine.I1.pack(kind) + brine.dump((0, ("builtins", "OSError", (), "")))
        assert send_and_drain(worker.greeted(), transport.FRAME.pack(len(data), 0) + data + b"\n") == b""
    worker.assert_sound()


def test_a_read_session_that_trades_and_functions_off_the_list_are_refused(worker: WorkerProcess) -> None:
    with worker.client("read") as mt5:
        with pytest.raises(BridgeError, match="read_only_ticket"):
            mt5.order_send({"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0})
        for function in ("eval", "__import__", "shutdown", "login", "farm.secret", "Buy"):
            with pytest.raises(BridgeError, match="not_allowed"):
                mt5._link.call(function, ("1",), {}, {})


def test_a_client_that_floods_or_does_not_read_holds_nobody_up(worker: WorkerProcess) -> None:
    call = transport.pack_call("account_info", (), {}, {})
    floods = [worker.greeted() for _ in range(4)]
    for sock in floods:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while sock.send(call * 1000):
                pass
    begun = time.monotonic()
    with worker.client() as mt5:
        for _ in range(50):
            assert mt5.account_info().login == LOGIN
    assert time.monotonic() - begun < 10
    assert worker.megabytes() - worker.size_at_first < GROWTH_MB
    for sock in floods:
        sock.close()
    worker.assert_sound()


def test_a_stock_rpyc_client_is_served_on_the_same_port(worker: WorkerProcess) -> None:
    import rpyc

    with worker.greeted() as sock:
        sock.settimeout(None)
        stream = rpyc.core.stream.SocketStream(sock)
        connection = rpyc.connect_stream(stream)
        status, payload, code, text = connection.root.call("account_info", (), (), ())
        assert (status, payload[:2], code, text) == ("ok", ("s", "AccountInfo"), 1, "Success")
        assert connection.root.call("symbol_info", ("NOPE",), (), ()) == ("ok", None, -4, "Terminal: Not found")
        with pytest.raises(AttributeError):
            connection.root.exposed_call.__func__  # noqa: B018 - the access is what is tested
        connection.close()


def test_one_connection_carries_rpyc_and_lean_frames(worker: WorkerProcess) -> None:
    with worker.greeted() as sock:
        request = (0, (consts.HANDLE_GETROOT, (consts.LABEL_VALUE, ())))
        data = brine.I1.pack(consts.MSG_REQUEST) + brine.dump(request)
        rpyc_frame = struct.pack("!LB", len(data), 0) + data + b"\n"
        sock.sendall(rpyc_frame + transport.pack_call("version", (), {}, {}) + rpyc_frame)
        kinds = []
        reader = sock.makefile("rb")
        for _ in range(3):
            length, kind = transport.FRAME.unpack(reader.read(transport.FRAME.size))
            reader.read(length + (kind == transport.RPYC))
            kinds.append(kind)
        reader.close()
        assert kinds == [transport.RPYC, transport.VALUE, transport.RPYC]
