"""Terminals over real sockets: login outcomes, the package's errors, lost brokers, exactly-once trading."""

from __future__ import annotations

import contextlib
import signal
import socket
from pathlib import Path
from typing import Any

BUY = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0}


def _call(backend: Any, function: str, *args: Any, **kwargs: Any) -> Any:
    return backend.call(function, args, kwargs)


def _ready(stage: Any, name: str = "t1") -> Any:
    backend = stage.backend(name)
    assert _call(backend, "initialize") is True
    return backend


def test_b1_to_b5_the_life_of_a_connection(play: Any) -> None:
    backend = play.backend()
    assert backend.last_error() == (0, "")
    assert _call(backend, "account_info") is None
    assert backend.last_error() == (-10004, "No IPC connection")
    assert _call(backend, "version") == (0, 0, "")
    assert _call(backend, "market_book_add", "EURUSD") is False
    assert backend.last_error() == (1, "Success")
    assert _call(backend, "initialize") is True
    assert _call(backend, "initialize") is True
    assert backend.last_error() == (1, "Success")
    assert _call(backend, "account_info").login == 5001
    assert _call(backend, "version")[0] == 500
    assert _call(backend, "terminal_info").connected is True
    assert _call(backend, "shutdown") is True
    assert _call(backend, "positions_get") is None


def test_b6_b8_b9_b11_ways_to_fail(play: Any) -> None:
    backend = play.backend()
    assert _call(backend, "initialize", "C:\\no\\such\\terminal64.exe") is False
    assert backend.last_error()[0] == -10003
    assert _call(backend, "initialize", "a", "b") is False
    assert backend.last_error()[0] == -2
    assert _call(backend, "initialize", login=5001, password="wrong", server="MT5Farm-Demo") is False
    assert backend.last_error() == (-6, "Terminal: Authorization failed")
    assert _call(backend, "account_info") is None
    assert backend.last_error()[0] == -10004
    assert _call(backend, "initialize", login=5001, password="secret-pw", server="MT5Farm-Demo") is True
    assert _call(backend, "login", 5001, "wrong") is False
    assert backend.last_error()[0] == -6
    assert _call(backend, "terminal_info").connected is False  # the link stays, the account is gone
    assert _call(backend, "login", 5001, password="secret-pw", server="MT5Farm-Demo") is True


def test_a_wrong_password_is_refused_once_and_the_terminal_stays_up(stage: Any) -> None:
    stage.broker("--symbols", "EURUSD")
    stage.admin.create_account(5001, password="secret-pw")
    process = stage.terminal(password="bad-pw")
    backend = stage.backend()
    assert _call(backend, "initialize") is False
    assert backend.last_error() == (-6, "Terminal: Authorization failed")
    assert process.poll() is None
    assert stage.journal().count("authorization on MT5Farm-Demo failed") == 1
    assert "bad-pw" not in stage.journal()


def test_an_unknown_server_is_in_the_journal_and_the_login_stays_open(stage: Any) -> None:
    stage.address = "127.0.0.1:1"
    process = stage.terminal(server="Nowhere-Live")
    stage.until(lambda: "server Nowhere-Live is not known" in stage.journal())
    backend = stage.backend()
    assert _call(backend, "initialize", timeout=200) is False
    assert backend.last_error() == (-10005, "IPC timeout")
    assert process.poll() is None


def test_a_terminal_that_is_not_there(stage: Any) -> None:
    backend = stage.backend("none")
    assert _call(backend, "initialize") is False
    assert backend.last_error() == (-10003, "IPC initialize failed, MetaTrader 5 x64 not found")


def test_b16_a_terminal_that_dies_fails_calls_until_initialize(play: Any) -> None:
    backend = _ready(play)
    process = play.run("mt5_bridge.simulated.terminal", "--folder", str(play.folder / "t1"), "--ipc", play.ipc())
    assert process.wait() == 2  # another one answers there
    terminal = play.terminal("t2")
    second = _ready(play, "t2")
    play.kill(terminal)
    assert _call(second, "account_info") is None
    assert second.last_error()[0] in (-10001, -10002)
    assert _call(second, "account_info") is None
    play.terminal("t2")  # takes over the socket that the dead one left
    assert _call(second, "initialize") is True
    assert _call(second, "account_info").login == 5001
    assert _call(backend, "account_info").login == 5001


def test_b17_without_a_broker_old_data_are_served_and_trading_is_refused(play: Any) -> None:
    backend = _ready(play)
    known = _call(backend, "account_info")
    broker = play._processes[0]
    play.kill(broker)
    play.until(lambda: _call(backend, "terminal_info").connected is False)
    kept = _call(backend, "account_info")
    assert kept._asdict() == known._asdict() | {"trade_allowed": False}  # H4
    result = _call(backend, "order_send", BUY)
    assert (result.retcode, result.order, result.request_id) == (10031, 0, 0)
    assert _call(backend, "history_deals_get", 0, 2**31 - 1) is None  # not known is not "nothing"
    play.broker("--speed", "60", "--symbols", "EURUSD")
    play.until(lambda: _call(backend, "terminal_info").connected)
    assert _call(backend, "order_send", BUY).retcode == 10009
    assert "lost" in play.journal()


def test_trading_and_history_through_the_whole_line(play: Any) -> None:
    backend = _ready(play)
    opened = _call(backend, "order_send", BUY | {"magic": 7, "comment": "t"})
    assert opened.retcode == 10009
    (position,) = _call(backend, "positions_get", ticket=opened.order)
    assert (position.ticket, position.magic) == (opened.order, 7)
    assert _call(backend, "symbol_select", "EURUSD", False) is False  # D8
    closing = BUY | {"type": 1, "position": opened.order}
    assert _call(backend, "order_send", closing).request_id == opened.request_id + 1
    assert len(_call(backend, "history_deals_get", position=opened.order)) == 2
    assert _call(backend, "history_deals_total", 0, 2**31 - 1) == 3
    assert [deal.ticket for deal in play.admin.deals(5001)] == [
        deal.ticket for deal in _call(backend, "history_deals_get", 0, 2**31 - 1)
    ]
    assert {order.ticket for order in play.admin.orders(5001)} >= {opened.order}


def test_market_data_through_the_whole_line(play: Any) -> None:
    backend = _ready(play)
    bars = _call(backend, "copy_rates_from_pos", "EURUSD", 1, 0, 3000)
    assert len(bars) == 3000
    assert bars.flags.writeable is False  # A13
    assert _call(backend, "copy_rates_from_pos", "NOPE", 1, 0, 10) is None
    assert backend.last_error() == (-1, "Terminal: Call failed")  # E7
    for arguments in (("EURUSD", 7, 0, 10), ("EURUSD", 1, 0, 0), ("EURUSD", 1, 0, 100_000)):
        assert _call(backend, "copy_rates_from_pos", *arguments) is None
        assert backend.last_error() == (-2, "Terminal: Invalid params")  # E6, E9
    assert _call(backend, "symbol_info", "NOPE") is None
    assert backend.last_error() == (-4, "Terminal: Not found")  # D6
    assert _call(backend, "symbols_total") == len(_call(backend, "symbols_get")) == 1  # D1
    assert _call(backend, "symbols_get", "NOSUCH*") == ()
    info, tick = _call(backend, "symbol_info", "EURUSD"), _call(backend, "symbol_info_tick", "EURUSD")
    assert info.spread == round((info.ask - info.bid) / info.point)  # D11
    assert tick.time == tick.time_msc // 1000  # C4
    assert _call(backend, "order_calc_margin", 0, "EURUSD", 0.1, 1.1001) == 110.01  # T6
    assert _call(backend, "order_calc_profit", 1, "EURUSD", 1.0, 1.1, 1.103) == -300.0
    assert _call(backend, "symbol_select", "EURUSD", False) is True
    assert _call(backend, "symbol_info_tick", "EURUSD") is None  # D9
    assert _call(backend, "symbol_select", "EURUSD") is True


def test_g_the_depth_of_market_needs_a_subscription(play: Any) -> None:
    backend = _ready(play)
    assert _call(backend, "market_book_get", "EURUSD") is None
    assert _call(backend, "market_book_release", "EURUSD") is False
    assert _call(backend, "market_book_add", "EURUSD") is True
    book = _call(backend, "market_book_get", "EURUSD")
    assert [row.price for row in book] == sorted((row.price for row in book), reverse=True)
    assert [row.type for row in book] == sorted(row.type for row in book)
    assert _call(backend, "market_book_release", "EURUSD") is True


def test_two_terminals_of_one_login_are_counted(play: Any) -> None:
    play.terminal("t2")
    _ready(play)
    _ready(play, "t2")
    assert play.admin.status()["sessions"] == {"5001": 2}


def test_a_terminal_ends_cleanly_on_sigterm(play: Any) -> None:
    process = play._processes[1]
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert not Path(play.ipc().removeprefix("unix:")).exists()


def test_strangers_do_no_harm(play: Any) -> None:
    host, port = play.address.split(":")
    for data in (b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 100, b"\x00\x00\x00\x03abc"):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(data)
            connection.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(10) == b""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(play.ipc().removeprefix("unix:"))
            connection.sendall(data)
            connection.settimeout(20)
            assert connection.recv(10) == b""
    assert _call(_ready(play), "account_info").login == 5001
