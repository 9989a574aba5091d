"""Section B: connection, login, errors."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mt5_bridge.simulated.installations import Installations, announce
from mt5_bridge.simulated.link import Frames
from tests.conformance.stage import LOGIN, PASSWORD, SERVER, Stage, deal

OTHER = 5002


@pytest.mark.rule("B1", "B2", "B3")
def test_last_error_speaks_of_the_latest_call(stage: Stage) -> None:
    mt5 = stage.program(connected=False)
    assert mt5.last_error() == (0, "")
    assert mt5.account_info() is None
    assert mt5.last_error() == (-10004, "No IPC connection")
    assert mt5.last_error() == (-10004, "No IPC connection")
    with pytest.raises(TypeError):
        mt5.last_error(1)
    assert mt5.initialize() is True
    assert mt5.last_error() == (1, "Success")
    mt5.symbol_info("NOSUCH")
    assert mt5.last_error()[0] == -4
    mt5.account_info()
    assert mt5.last_error() == (1, "Success")


@pytest.mark.rule("B3")
def test_nothing_is_had_without_a_link(stage: Stage) -> None:
    mt5 = stage.program(connected=False)
    calls: dict[str, tuple[Any, ...]] = dict.fromkeys(
        ("account_info", "terminal_info", "orders_total", "positions_total", "orders_get"), ()
    )
    calls |= {"positions_get": (), "symbol_info": ("EURUSD",), "symbol_info_tick": ("EURUSD",)}
    calls |= {"market_book_get": ("EURUSD",), "copy_rates_from_pos": ("EURUSD", 1, 0, 1)}
    calls |= {"copy_ticks_from": ("EURUSD", 0, 1, -1), "history_deals_total": (0, 1), "history_deals_get": (0, 1)}
    calls |= {"order_calc_margin": (0, "EURUSD", 0.1, 1.1), "order_check": (deal(mt5),), "order_send": (deal(mt5),)}
    for function, args in calls.items():
        assert getattr(mt5, function)(*args) is None, function
        assert mt5.last_error() == (-10004, "No IPC connection"), function
    assert mt5.symbol_select("EURUSD") is False
    assert mt5.last_error()[0] == -10004
    assert mt5.login(LOGIN) is False
    assert mt5.last_error()[0] == -10004
    for function in ("symbols_get", "symbols_total"):
        assert getattr(mt5, function)() is None
        assert mt5.last_error()[0] == -5  # as the package itself says: without a terminal there is no build (B18)


@pytest.mark.rule("B4")
def test_four_functions_are_different_without_a_link(stage: Stage) -> None:
    mt5 = stage.program(connected=False)
    assert mt5.version() == (0, 0, "")
    assert mt5.last_error()[0] == -10004
    assert mt5.market_book_add("EURUSD") is False
    assert mt5.last_error() == (1, "Success")
    assert mt5.market_book_release("EURUSD") is False
    assert mt5.last_error() == (1, "Success")
    assert mt5.shutdown() is True


@pytest.mark.rule("B7")
def test_without_a_path_the_terminal_of_this_process_or_the_one_used_last_is_taken(stage: Stage) -> None:
    def logins(started_by: Path | None = None, path: str | None = None) -> int | tuple[int, str]:
        mt5 = stage.program(Installations(stage.folder, started_by), connected=False)
        joined = mt5.initialize() if path is None else mt5.initialize(path)
        return int(mt5.account_info().login) if joined else mt5.last_error()

    assert logins() == (-10003, "IPC initialize failed, MetaTrader 5 x64 not found")
    stage.admin.create_account(OTHER, password=PASSWORD)
    _, second = stage.start_terminal("u", login=OTHER)
    for name, ipc in (("t", stage.ipc), ("u", second)):
        announce(stage.folder / name, ipc)
    for latest, login in (("t", LOGIN), ("u", OTHER), ("t", LOGIN)):
        newest = max(one.stat().st_mtime_ns for one in stage.folder.glob("*/config/*"))
        settings = stage.folder / latest / "config" / "servers.json"
        os.utime(settings, ns=(newest + 10**9, newest + 10**9))
        assert logins() == login  # the most recent accounts or settings
    assert logins(stage.folder / "u") == OTHER  # the terminal that started this process comes first
    for path in (stage.folder / "u", stage.folder / "u" / "terminal64.exe"):
        assert logins(stage.folder / "t", str(path)) == OTHER  # and a path before everything
    nowhere = str(stage.folder / "v" / "terminal64.exe")
    assert logins(path=nowhere) == (-10003, f"IPC initialize failed, Process create failed '{nowhere}'")


@pytest.mark.rule("B5")
def test_initialize_again_drops_the_old_link(stage: Stage) -> None:
    mt5 = stage.mt5
    assert mt5.market_book_add("EURUSD") is True
    assert mt5.initialize() is True
    assert mt5.last_error() == (1, "Success")
    assert mt5.market_book_get("EURUSD") is None  # the subscription went with the old link


@pytest.mark.rule("B6")
def test_only_the_path_may_be_positional(stage: Stage) -> None:
    mt5 = stage.program(connected=False)
    assert mt5.initialize("a", "b") is False
    assert mt5.last_error()[0] == -2
    assert mt5.initialize(timeout="x") is False
    assert mt5.last_error() == (-2, 'Invalid "timeout" argument')
    terminal = str(stage.folder / "t" / "terminal64.exe")
    assert mt5.initialize(terminal) is True
    assert mt5.initialize(path=terminal) is True


@pytest.mark.rule("B7")
def test_without_a_path_it_is_the_program_s_own_terminal_or_none(stage: Stage) -> None:
    assert stage.program(connected=False).initialize() is True
    nowhere = stage.program(f"unix:{stage.folder}/none", connected=False)
    assert nowhere.initialize() is False
    assert nowhere.last_error() == (-10003, "IPC initialize failed, MetaTrader 5 x64 not found")


@pytest.mark.rule("B8")
def test_a_path_that_does_not_exist_cannot_start(stage: Stage) -> None:
    mt5 = stage.program(connected=False)
    path = "C:\\no\\such\\terminal64.exe"
    assert mt5.initialize(path) is False
    assert mt5.last_error() == (-10003, f"IPC initialize failed, Process create failed '{path}'")


@pytest.mark.rule("B9")
def test_initialize_waits_for_the_account(stage: Stage) -> None:
    mt5 = stage.program(connected=False)
    assert mt5.initialize(login=LOGIN, password="wrong", server=SERVER) is False
    assert mt5.last_error() == (-6, "Terminal: Authorization failed")
    assert mt5.account_info() is None
    assert mt5.last_error()[0] == -10004  # the link is closed
    assert mt5.initialize(login=LOGIN, password=PASSWORD, server="Nowhere", timeout=50) is False
    assert mt5.last_error() == (-10005, "IPC timeout")
    assert mt5.account_info() is None
    assert mt5.last_error()[0] == -10004  # here too
    assert mt5.initialize(login=LOGIN, password=PASSWORD, server=SERVER) is True


@pytest.mark.rule("B10")
def test_accounts_with_one_time_passwords_are_not_supported(stage: Stage) -> None:
    stage.admin.create_account(OTHER, password=PASSWORD)
    stage.admin.configure_account(OTHER, one_time_password=True)
    assert stage.mt5.login(OTHER, password=PASSWORD, server=SERVER) is False
    assert stage.mt5.last_error()[0] == -7
    assert stage.mt5.initialize(login=OTHER, password=PASSWORD, server=SERVER) is False
    assert stage.mt5.last_error()[0] == -7


@pytest.mark.rule("B11", "B12")
def test_login_needs_a_number_and_keeps_the_link_when_refused(stage: Stage) -> None:
    mt5 = stage.mt5
    assert mt5.login(LOGIN, password=PASSWORD, server=SERVER) is True
    assert mt5.login(LOGIN, PASSWORD, SERVER) is True
    assert mt5.login(LOGIN) is True  # with what the terminal has saved
    for wrong in (0, "5"):
        assert mt5.login(login=wrong) is False
        assert mt5.last_error() == (-2, 'Invalid "login" argument')
    assert mt5.login(0) is False
    assert mt5.last_error() == (-2, 'Invalid "login" argument')
    assert mt5.login("5") is False
    assert mt5.last_error()[0] == -2  # the package itself names it by its place
    assert mt5.login() is False
    assert mt5.last_error() == (-2, 'Invalid "login" argument')
    assert mt5.login(LOGIN, password="wrong") is False
    assert mt5.last_error()[0] == -6
    assert mt5.terminal_info() is not None
    assert mt5.terminal_info().connected is False


@pytest.mark.rule("B13")
def test_login_switches_the_whole_terminal(stage: Stage) -> None:
    mt5 = stage.mt5
    stage.admin.create_account(OTHER, password="other-pw", balance=500.0)
    mt5.order_send(deal(mt5))
    assert mt5.login(OTHER, password="other-pw", server=SERVER) is True
    assert (mt5.account_info().login, mt5.account_info().balance) == (OTHER, 500.0)
    assert mt5.positions_get() == ()
    assert len(mt5.history_deals_get(0, 2**31 - 1)) == 1
    assert mt5.login(LOGIN, password=PASSWORD, server=SERVER) is True
    assert len(mt5.positions_get()) == 1
    assert mt5.account_info().login == LOGIN
    assert mt5.login(OTHER, password="other-pw", server="Nowhere", timeout=50) is False
    assert (mt5.account_info(), mt5.positions_get()) == (None, None)  # nothing of the account that was left


@pytest.mark.rule("B14")
def test_shutdown_never_fails(mt5: Any) -> None:
    assert mt5.shutdown() is True
    assert mt5.shutdown() is True
    assert mt5.last_error() == (1, "Success")
    assert mt5.positions_get() is None
    assert mt5.last_error()[0] == -10004


@pytest.mark.rule("B15")
def test_version_has_three_parts(mt5: Any) -> None:
    number, build, date = mt5.version()
    assert (number, type(build)) == (500, int)
    assert date == "19 Jun 2026"


class FalseTerminal:
    """A listener that takes links and does to each request what the test says."""

    def __init__(self, folder: Path, answers: Callable[[int, Frames], None]) -> None:
        self.address = f"unix:{folder}/false"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{folder}/false")
        self._listener.listen()
        self._answers = answers
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        frames = Frames(self._listener.accept()[0])
        number, _, _ = frames.receive()
        frames.send((number, True, True))  # initialize
        self._answers(frames.receive()[0], frames)
        self._listener.close()


@pytest.mark.rule("B16")
def test_link_trouble_lasts_until_initialize(stage: Stage) -> None:
    for answer, code in ((lambda _, frames: frames.close(), -10002), (_foreign, -10000)):
        false = FalseTerminal(stage.folder, answer)
        mt5 = stage.program(false.address)
        assert mt5.account_info() is None
        assert mt5.last_error()[0] == code
        assert mt5.account_info() is None
        assert mt5.last_error()[0] != 1
        assert mt5.initialize() is False
        (stage.folder / "false").unlink()


@pytest.mark.rule("B16")
def test_a_link_that_does_not_take_the_request(stage: Stage) -> None:
    mt5 = stage.program()
    frames = mt5._backend._frames
    frames._socket.shutdown(socket.SHUT_WR)
    assert mt5.account_info() is None
    assert mt5.last_error() == (-10001, "IPC send failed")
    assert mt5.initialize() is True
    assert mt5.account_info().login == LOGIN


def _foreign(number: int, frames: Frames) -> None:
    frames.send((number + 1, True, None))


@pytest.mark.rule("B17", "L16", "H4")
def test_without_a_server_the_cache_answers_and_trades_are_refused(stage: Stage) -> None:
    mt5 = stage.mt5
    known = mt5.account_info()
    stage.admin.disconnect(LOGIN, seconds=60.0)
    stage.until(lambda: not mt5.terminal_info().connected)
    assert mt5.account_info()._asdict() == known._asdict() | {"trade_allowed": False}
    result = mt5.order_send(deal(mt5))
    assert (result.retcode, result.request_id) == (10031, 0)


@pytest.mark.rule("B18")
def test_old_terminals_do_not_fit_the_package(stages: Callable[..., Stage]) -> None:
    mt5 = stages(startup="[Simulated]\nBuild=2300\n").mt5
    assert mt5.symbols_get() is None
    assert mt5.last_error()[0] == -5
    assert mt5.last_error()[1].startswith("Terminal: Incompatible versions")
    assert mt5.symbols_total() is None
    assert mt5.account_info() is not None


@pytest.mark.rule("B19")
@pytest.mark.parametrize("choice", ["none", "blank"])
def test_before_any_account_there_is_no_account_info(stages: Callable[..., Stage], choice: str) -> None:
    stage = stages(conventions={"no_account": choice})
    _, ipc = stage.start_terminal("empty", login=0)
    mt5 = stage.program(ipc, connected=False)
    assert mt5.initialize(timeout=10) is False
    mt5 = stage.mt5
    assert mt5.login(LOGIN, password="wrong") is False
    info = mt5.account_info()
    if choice == "none":
        assert info is None
        assert mt5.last_error() == (-1, "Terminal: Call failed")
    else:
        assert info.login == 0
