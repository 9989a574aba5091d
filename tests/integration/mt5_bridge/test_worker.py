"""A worker and its clients over a real socket."""

from __future__ import annotations

import contextlib
import socket
import struct as binary
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from rpyc.core import brine, consts

from mt5_bridge import auth, settlement, transport
from mt5_bridge.client import BridgeError, BridgeLost, MetaTrader5
from mt5_bridge.structs import RATES_DTYPE, AccountInfo, OrderSendResult, TradeRequest
from tests.bridge_doubles import LOGIN, SERVER, TOKEN, RunningWorker, StubBackend, eventually, running_worker

BUY = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "price": 1.1, "magic": 7}


@pytest.fixture
def backend() -> StubBackend:
    return StubBackend()


@pytest.fixture
def worker(backend: StubBackend) -> Iterator[RunningWorker]:
    with running_worker(backend) as running:
        yield running


def client(worker: RunningWorker, **options: Any) -> MetaTrader5:
    values: dict[str, Any] = {"token": TOKEN, "scope": "trade", "epoch": 7, "principal": "user:usr_1"}
    return MetaTrader5(worker.address, **values | options)


@pytest.fixture
def mt5(worker: RunningWorker) -> Iterator[MetaTrader5]:
    with client(worker) as api:
        eventually(lambda: api.describe()["connected"])
        yield api


def hello_socket(worker: RunningWorker) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(worker.address.removeprefix("unix:"))
    return sock


def greeted(worker: RunningWorker) -> socket.socket:
    sock = hello_socket(worker)
    auth.greet(sock, {"token": TOKEN, "scope": "trade", "epoch": 7, "principal": "user:usr_1"})
    return sock


class TestCalls:
    def test_structs_and_plain_values_arrive_as_the_package_gives_them(self, mt5: MetaTrader5) -> None:
        info = mt5.account_info()
        assert type(info) is AccountInfo
        assert (info.login, info.server) == (LOGIN, SERVER)
        assert mt5.version() == (500, 5000, "01 Jan 2026")
        assert mt5.last_error() == (1, "Success")

    def test_arrays_are_read_only_and_own_their_data_even_when_they_are_large(
        self, mt5: MetaTrader5, backend: StubBackend
    ) -> None:
        backend.bars = np.zeros(200_000, RATES_DTYPE)
        backend.bars["close"] = np.arange(200_000)
        rates = mt5.copy_rates_from_pos("EURUSD", 1, 0, 200_000)
        assert rates.dtype == np.dtype(RATES_DTYPE)
        assert not rates.flags.writeable
        assert rates.flags.owndata
        assert np.array_equal(rates, backend.bars)

    def test_a_terminal_error_comes_with_its_last_error(self, mt5: MetaTrader5) -> None:
        assert mt5.symbol_info("NOPE") is None
        assert mt5.last_error() == (-4, "Terminal: Not found")

    def test_wrong_arguments_fail_as_in_the_package_and_never_reach_the_terminal(
        self, mt5: MetaTrader5, backend: StubBackend
    ) -> None:
        backend.calls.clear()
        assert mt5.symbol_info() is None
        assert mt5.last_error() == (-2, "Invalid arguments")
        with pytest.raises(TypeError):
            mt5.symbol_info(symbol="EURUSD")
        with pytest.raises(SystemError) as raised:
            mt5.copy_rates_from_pos("EURUSD", "M1", 0, 1)
        assert isinstance(raised.value.__cause__, TypeError)
        assert not {"symbol_info", "copy_rates_from_pos"} & set(backend.calls)

        assert mt5.last_error() == (-2, "Invalid arguments")

    def test_a_stock_client_is_told_what_an_exception_leaves_in_last_error(self, worker: RunningWorker) -> None:
        sock = greeted(worker)
        connection = transport.connect(sock)
        status, described, *error = connection.root.call("copy_rates_from_pos", ("EURUSD", "M1", 0, 1), (), ())
        sock.shutdown(socket.SHUT_RDWR)
        connection.close()
        assert (status, described[0], described[2]) == ("raise", "SystemError", "TypeError")
        assert error == [-2, "Invalid arguments"]

    def test_every_call_runs_on_one_and_the_same_thread(
        self, worker: RunningWorker, mt5: MetaTrader5, backend: StubBackend
    ) -> None:
        with client(worker) as other:
            threads = [threading.Thread(target=api.account_info) for api in (mt5, other) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
        assert len(backend.threads) == 1

    def test_constants_and_struct_classes_are_the_packages(self, mt5: MetaTrader5) -> None:
        assert mt5.TIMEFRAME_H1 == 16385
        assert mt5.TradeRequest is TradeRequest


class TestPermission:
    def test_a_read_session_cannot_trade(self, worker: RunningWorker, mt5: MetaTrader5, backend: StubBackend) -> None:
        with client(worker, scope="read") as reader, pytest.raises(BridgeError) as refused:
            reader.order_send(BUY)
        assert refused.value.code == "read_only_ticket"
        assert not backend.sent

    def test_a_read_session_cannot_give_up_an_order(self, worker: RunningWorker, mt5: MetaTrader5) -> None:
        with client(worker, scope="read") as reader, pytest.raises(BridgeError) as refused:
            reader.give_up("mine")
        assert refused.value.code == "read_only_ticket"
        assert mt5.outcome("mine") is None

    def test_an_order_that_was_given_up_is_not_sent_when_it_comes(
        self, worker: RunningWorker, mt5: MetaTrader5, backend: StubBackend
    ) -> None:
        assert mt5.give_up("mine")["state"] == "not_executed"
        with pytest.raises(BridgeError) as refused:
            mt5.send_once("mine", BUY)
        assert refused.value.code == "not_executed"
        assert not backend.sent

    @pytest.mark.parametrize("function", ["initialize", "login", "shutdown", "Buy", "eval", "farm.nothing", ""])
    def test_what_is_not_on_the_list_cannot_be_called(self, mt5: MetaTrader5, function: str) -> None:
        with pytest.raises(BridgeError) as refused:
            mt5._link.call(function, (), {}, {})
        assert refused.value.code == "not_allowed"

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"token": "some-other-secret-000"}, "bad_token"),
            ({"epoch": 6}, "stale_epoch"),
            ({"epoch": 8}, "stale_epoch"),
            ({"scope": "admin"}, "malformed_hello"),
            ({"principal": ""}, "malformed_hello"),
            ({"token": "\ud800" * 20}, "malformed_hello"),
        ],
    )
    def test_a_hello_that_is_not_right_is_refused_with_a_code(
        self, worker: RunningWorker, change: dict[str, Any], code: str
    ) -> None:
        with pytest.raises(BridgeError) as refused:
            client(worker, **change)
        assert refused.value.code == code

    def test_the_agent_alone_raises_the_epoch_and_older_sessions_end(
        self, worker: RunningWorker, mt5: MetaTrader5
    ) -> None:
        with pytest.raises(BridgeError) as refused:
            mt5.configure({"epoch": 9})
        assert refused.value.code == "not_allowed"
        with client(worker, principal="agent", epoch=8) as agent:
            agent.configure({"epoch": 8})
            assert agent.describe()["epoch"] == 8
            agent.configure({"epoch": 3})
            assert agent.describe()["epoch"] == 8
        with pytest.raises(BridgeError) as stale:
            mt5.account_info()
        assert stale.value.code == "stale_epoch"


class TestHostileBytes:
    @pytest.mark.parametrize(
        "line",
        [b"\x16\x03\x01\x02\x00\x01\n", b"GET / HTTP/1.1\r\n", b"{}\n", b"[" * 3000 + b"\n", b"x" * 5000, b"null\n"],
    )
    def test_garbage_instead_of_a_hello_is_answered_and_closed(self, worker: RunningWorker, line: bytes) -> None:
        with hello_socket(worker) as sock:
            sock.sendall(line)
            assert b"malformed_hello" in sock.recv(4096)
        assert_alive(worker)

    @pytest.mark.parametrize(
        "frame",
        [
            binary.pack("!LB", 2**32 - 1, 0),
            binary.pack("!LB", transport.REQUEST_LIMIT + 1, 0) + b"x",
            binary.pack("!LB", 5, 1) + b"xxxxx\n",
            binary.pack("!LB", 5, 0) + b"\x01\xff\xff\xff\xff\n",
            binary.pack("!LB", 0, 0) + b"\n",
            b"\x00" * 64,
        ],
    )
    def test_broken_frames_end_the_session_only(self, worker: RunningWorker, frame: bytes) -> None:
        with greeted(worker) as sock:
            sock.sendall(frame)
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(4096):
                    pass
        assert_alive(worker)

    @pytest.mark.parametrize(
        ("handler", "arguments"),
        [
            (consts.HANDLE_PICKLE, (1, 2)),
            (consts.HANDLE_DIR, (1,)),
            (consts.HANDLE_SETATTR, (1, "a", 2)),
            (consts.HANDLE_BUFFITER, ("abc", 2)),
            (consts.HANDLE_CALL, ("abc", ())),
            (consts.HANDLE_GETATTR, ("abc", "upper")),
        ],
    )
    def test_no_other_request_of_the_protocol_is_served(
        self, worker: RunningWorker, handler: int, arguments: tuple[Any, ...]
    ) -> None:
        sock = greeted(worker)
        channel = transport.CappedChannel(transport.FastStream(sock), transport.ANSWER_LIMIT)
        channel.send(brine.I1.pack(consts.MSG_REQUEST) + brine.dump((0, (handler, (consts.LABEL_VALUE, arguments)))))
        assert channel.recv()[0] == consts.MSG_EXCEPTION
        channel.close()
        assert_alive(worker)

    def test_objects_of_the_client_are_not_accepted(self, worker: RunningWorker) -> None:
        sock = greeted(worker)
        connection = transport.connect(sock)
        call = connection.root.call
        with pytest.raises(ValueError, match="references"):
            call("version", [1, 2], (), ())
        sock.shutdown(socket.SHUT_RDWR)
        connection.close()
        assert_alive(worker)

    def test_attributes_other_than_call_do_not_exist(self, worker: RunningWorker) -> None:
        sock = greeted(worker)
        connection = transport.connect(sock)
        for name in ("_terminal", "__class__", "__init__", "get_service_name", "exposed_call"):
            with pytest.raises(AttributeError):
                connection.sync_request(consts.HANDLE_GETATTR, connection.root, name)
        sock.shutdown(socket.SHUT_RDWR)
        connection.close()


def assert_alive(worker: RunningWorker) -> None:
    with client(worker) as api:
        eventually(lambda: api.describe()["connected"])
        assert api.account_info().login == LOGIN


class TestTrading:
    def test_an_order_is_journaled_with_who_sent_it(self, mt5: MetaTrader5) -> None:
        result = mt5.order_send(BUY)
        assert type(result) is OrderSendResult
        assert result.retcode == mt5.TRADE_RETCODE_DONE
        (row,) = mt5.journal()
        assert (row["state"], row["principal"], row["order"], row["epoch"]) == ("done", "user:usr_1", result.order, 7)
        assert row["request"]["symbol"] == "EURUSD"

    def test_the_same_client_order_id_never_trades_twice(self, mt5: MetaTrader5, backend: StubBackend) -> None:
        first = mt5.send_once("a", BUY)
        assert mt5.send_once("a", BUY) == first
        assert len(backend.sent) == 1
        with pytest.raises(BridgeError) as conflict:
            mt5.send_once("a", BUY | {"volume": 0.2})
        assert conflict.value.code == "id_conflict"
        assert mt5.outcome("never") is None

    def test_another_account_in_the_terminal_stops_trades_and_reads(
        self, mt5: MetaTrader5, backend: StubBackend
    ) -> None:
        backend.login = 666
        with pytest.raises(BridgeError) as refused:
            mt5.order_send(BUY)
        assert refused.value.code == "wrong_account"
        assert not backend.sent
        eventually(lambda: mt5.describe()["wrong_account"])
        with pytest.raises(BridgeError) as reading:
            mt5.positions_get()
        assert reading.value.code == "wrong_account"

    def test_the_guard_holds_for_opening_and_lets_closing_through(self, backend: StubBackend) -> None:
        with running_worker(backend) as worker, client(worker) as mt5:
            eventually(lambda: mt5.describe()["connected"])
            ticket = mt5.order_send(BUY).order
            with client(worker, principal="agent") as agent:
                agent.configure({"guard": {"symbols": ["GBPUSD"], "max_volume": 0.01, "trading": False}})
            with pytest.raises(BridgeError) as refused:
                mt5.order_send(BUY)
            assert refused.value.code == "guard_trading"
            assert mt5.order_send(BUY | {"type": 1, "position": ticket}).retcode == 10009
            with pytest.raises(BridgeError):
                mt5.order_send(BUY | {"type": 1, "position": ticket + 1})

    def test_a_lost_answer_is_settled_from_the_books(self, mt5: MetaTrader5, backend: StubBackend) -> None:
        backend.on_send = backend.fill_and_lose_the_answer
        assert mt5.send_once("a", BUY) is None
        assert mt5.last_error()[0] == -10002
        with pytest.raises(BridgeError) as unknown:
            mt5.send_once("a", BUY)
        assert (unknown.value.code, unknown.value.retryable) == ("outcome_unknown", True)
        backend.reachable = True
        eventually(lambda: (mt5.outcome("a") or {})["state"] == "done")
        result = mt5.send_once("a", BUY)
        assert result is not None
        assert (result.order, len(backend.sent)) == (backend.history[0].ticket, 1)

    def test_what_never_reached_the_broker_becomes_not_executed_and_is_not_sent_again(
        self, mt5: MetaTrader5, backend: StubBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(settlement, "UNDER_WAY_SECONDS", 5.0)
        backend.on_send = backend.lose
        assert mt5.send_once("a", BUY) is None
        backend.reachable = True
        eventually(lambda: (mt5.outcome("a") or {})["state"] == "not_executed")
        with pytest.raises(BridgeError) as refused:
            mt5.send_once("a", BUY)
        assert refused.value.code == "not_executed"
        assert len(backend.sent) == 1


class TestLink:
    def test_calls_are_refused_while_the_terminal_is_away_and_work_again_after(
        self, mt5: MetaTrader5, backend: StubBackend
    ) -> None:
        backend.reachable = False
        eventually(lambda: not mt5.describe()["linked"])
        with pytest.raises(BridgeError) as refused:
            mt5.account_info()
        assert (refused.value.code, refused.value.retryable) == ("terminal_lost", True)
        backend.reachable = True
        eventually(lambda: mt5.describe()["connected"])
        assert mt5.account_info().login == LOGIN

    def test_a_stopped_worker_is_a_broken_link(self, backend: StubBackend) -> None:
        with running_worker(backend) as worker:
            api = client(worker)
            threading.Timer(0.0, worker.stop).start()
            eventually(lambda: not (worker.folder / "w.sock").exists())
            with pytest.raises(BridgeLost):
                client(worker)
            api.close()
            with pytest.raises(BridgeLost):
                api.account_info()
