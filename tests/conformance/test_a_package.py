"""Section A: the package itself, as a program sees it."""

from __future__ import annotations

import importlib
import pickle
import sys
import threading
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mt5_bridge.client import MetaTrader5
from mt5_bridge.client.module import install, make_module
from mt5_bridge.contract import CONSTANTS, FUNCTIONS, PACKAGE_VERSION, STRUCTS, Style
from tests.conformance.stage import PASSWORD, Stage, deal, is_struct

POSITIONAL = sorted(name for name, one in FUNCTIONS.items() if one.style is Style.POSITIONAL)
NO_ARGUMENTS = sorted(name for name, one in FUNCTIONS.items() if one.style is Style.NONE)


@pytest.mark.rule("A1")
def test_the_package_has_32_functions_3_in_python_11_structs_and_223_constants() -> None:
    styles = [one.style for one in FUNCTIONS.values()]
    assert (len(styles) - styles.count(Style.PYTHON), styles.count(Style.PYTHON)) == (32, 3)
    assert (len(STRUCTS), len(CONSTANTS)) == (11, 223)
    assert all(type(value) is int for value in CONSTANTS.values())
    assert isinstance(MetaTrader5.__version__, str)
    assert isinstance(MetaTrader5.__author__, str)
    assert MetaTrader5.__version__ == PACKAGE_VERSION
    assert not hasattr(MetaTrader5, "TRADE_RETCODE_HEDGE_PROHIBITED")
    assert not [name for name in CONSTANTS if name.startswith("SYMBOL_FILLING_")]


@pytest.mark.rule("A2")
@pytest.mark.parametrize("function", POSITIONAL)
def test_positional_functions_refuse_keywords(mt5: Any, function: str) -> None:
    with pytest.raises(TypeError, match="takes no keyword arguments"):
        getattr(mt5, function)(symbol="EURUSD")


@pytest.mark.rule("A3")
def test_functions_without_arguments_refuse_any(mt5: Any) -> None:
    assert set(NO_ARGUMENTS) == {
        *("shutdown", "version", "last_error", "account_info", "terminal_info"),
        *("symbols_total", "orders_total", "positions_total"),
    }
    for function in NO_ARGUMENTS:
        with pytest.raises(TypeError):
            getattr(mt5, function)(1)


@pytest.mark.rule("A4")
def test_unknown_keywords_are_ignored(mt5: Any) -> None:
    assert mt5.initialize(nonsense=1) is True
    assert mt5.symbols_get(nonsense=1) == mt5.symbols_get()
    assert mt5.positions_get(nonsense=1) == ()
    assert mt5.orders_get(nonsense=1) == ()
    assert mt5.history_deals_get(0, 1, nonsense=1) == ()
    assert mt5.history_orders_get(0, 1, nonsense=1) == ()
    assert mt5.order_check(**deal(mt5), nonsense=1).retcode == 0
    assert mt5.order_send(**deal(mt5), nonsense=1).retcode == 10009
    assert mt5.login(5001, nonsense=1) is True


@pytest.mark.rule("A5")
def test_arguments_are_checked_before_the_link(stage: Stage) -> None:
    mt5 = stage.program(connected=False)
    assert mt5.symbol_info(1) is None
    assert mt5.last_error() == (-2, "Invalid arguments")
    assert mt5.order_send(deal(mt5, volume=1)) is None
    assert mt5.last_error() == (-2, 'Invalid "volume" argument')


@pytest.mark.rule("A6")
@pytest.mark.parametrize("function", POSITIONAL)
def test_a_wrong_number_of_arguments_is_an_error_value(mt5: Any, function: str) -> None:
    assert getattr(mt5, function)(*range(6)) is (False if function == "symbol_select" else None)
    assert mt5.last_error() == (-2, "Invalid arguments")


@pytest.mark.rule("A6")
def test_a_symbol_that_is_no_text_is_an_error_value(mt5: Any) -> None:
    for result in (mt5.symbol_info(1), mt5.copy_rates_from_pos(1, 1, 0, 1), mt5.market_book_add(1)):
        assert result is None
        assert mt5.last_error() == (-2, "Invalid arguments")


@pytest.mark.rule("A7")
def test_a_wrong_type_in_a_number_s_place_raises_system_error(mt5: Any) -> None:
    for function, args in (
        ("copy_rates_from_pos", ("EURUSD", "H1", 0, 10)),
        ("copy_rates_from_pos", ("EURUSD", 1, 0, 10.0)),
        ("order_calc_margin", (0, "EURUSD", 0.1, "x")),
    ):
        with pytest.raises(SystemError, match="returned a result with an exception set") as caught:
            getattr(mt5, function)(*args)
        assert isinstance(caught.value.__cause__, TypeError)
        assert mt5.last_error() == (-2, "Invalid arguments")


@pytest.mark.rule("A8")
def test_ints_that_do_not_fit_raise_system_error(mt5: Any) -> None:
    for function, keywords in (
        ("order_send", deal(mt5, magic=-1)),
        ("order_send", deal(mt5, action=2**32)),
        ("positions_get", {"ticket": -1}),
    ):
        with pytest.raises(SystemError) as caught:
            getattr(mt5, function)(**keywords)
        assert isinstance(caught.value.__cause__, OverflowError)


@pytest.mark.rule("A9")
def test_symbols_and_comments_have_at_most_29_characters(mt5: Any) -> None:
    assert mt5.symbol_info("x" * 29) is None
    assert mt5.last_error() == (-4, "Terminal: Not found")
    assert mt5.symbol_info("x" * 30) is None
    assert mt5.last_error() == (-2, "Invalid arguments")
    assert mt5.order_send(deal(mt5, comment="c" * 29)).retcode == 10009
    assert mt5.positions_get()[0].comment == "c" * 29
    assert mt5.order_send(deal(mt5, comment="c" * 30)) is None
    assert mt5.last_error() == (-2, 'Invalid "comment" argument')


@pytest.mark.rule("A10")
def test_comments_made_by_the_server_may_be_longer(stage: Stage) -> None:
    comment = "c" * 31
    stage.admin.book_money(5001, 1.0, comment)
    assert stage.mt5.history_deals_get(0, 2**31 - 1)[-1].comment == comment


@pytest.mark.rule("A11")
def test_structs_are_tuples_with_names(mt5: Any) -> None:
    account = mt5.account_info()
    assert is_struct(account, "AccountInfo", 28)
    assert account[0] == account.login
    assert account == tuple(account)
    assert repr(account).startswith("AccountInfo(login=5001, trade_mode=0,")
    with pytest.raises((AttributeError, TypeError)):
        account.balance = 1
    assert not hasattr(account, "_fields")
    assert not hasattr(account, "_replace")
    checked = mt5.order_check(deal(mt5))
    assert type(checked._asdict()["request"]).__name__ == "TradeRequest"
    assert "commission" not in dict(STRUCTS["TradePosition"])
    assert "sl" not in dict(STRUCTS["TradeDeal"])
    assert mt5.TradePosition(range(19)).ticket == 0
    with pytest.raises(TypeError):
        mt5.TradePosition((1,))


@pytest.mark.rule("A12")
def test_structs_cannot_be_pickled(mt5: Any) -> None:
    account = mt5.account_info()
    assert type(account).__module__ == "builtins"
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(account)


@pytest.mark.rule("A13")
def test_arrays_are_packed_and_read_only(mt5: Any) -> None:
    for array in (
        mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_M1, 0, 10),
        mt5.copy_ticks_from("EURUSD", 0, 10, mt5.COPY_TICKS_ALL),
    ):
        assert isinstance(array, np.ndarray)
        assert (array.ndim, array.dtype.itemsize, len(array)) == (1, 60, 10)
        assert array.flags.writeable is False
        with pytest.raises(ValueError, match="read-only"):
            array["time"][0] = 1


@pytest.mark.rule("A14")
def test_a_program_has_one_link_and_its_module_is_that_link(stage: Stage) -> None:
    module: Any = make_module(stage.mt5)
    assert module.account_info() == stage.mt5.account_info()
    assert module.shutdown() is True
    assert stage.mt5.account_info() is None  # whoever holds the module, there is one link behind it
    program, other = stage.program(), stage.program()
    assert program.shutdown() is True
    assert program.account_info() is None
    assert other.account_info().login == 5001  # another process keeps its own link


@pytest.mark.rule("A14")
def test_whoever_imports_the_package_in_a_process_has_the_same_link(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.admin.create_account(5002, password=PASSWORD)
    _, other = stage.start_terminal("other", login=5002)
    monkeypatch.setitem(sys.modules, "MetaTrader5", ModuleType("MetaTrader5"))
    path = str(stage.folder / "other" / "terminal64.exe")
    install(stage.mt5, {path: lambda: stage.program(other)})
    here, there = importlib.import_module("MetaTrader5"), importlib.import_module("MetaTrader5")
    elsewhere = threading.Thread(target=lambda: there.symbol_info("NOSUCH"))
    elsewhere.start()
    elsewhere.join(10)
    assert here.last_error() == (-4, "Terminal: Not found")
    assert (here.account_info().login, there.account_info().login) == (5001, 5001)
    assert there.initialize(path) is True  # one terminal in a process: everybody is turned to it
    assert (here.account_info().login, there.account_info().login) == (5002, 5002)
    assert there.shutdown() is True
    assert here.account_info() is None


@pytest.mark.rule("A15")
def test_buy_and_sell_are_market_deals_with_fixed_terms(stage: Stage) -> None:
    mt5 = stage.mt5
    bought = mt5.Buy("EURUSD", 0.1, comment="mine")
    assert bought.retcode == 10009
    request = bought.request
    assert (request.deviation, request.magic, request.type_filling, request.price) == (10, 0, 0, 1.1001)
    assert (request.action, request.type, request.comment) == (1, 0, "mine")
    sold = mt5.Sell("EURUSD", 0.1, ticket=bought.order)
    assert (sold.request.position, sold.request.price, sold.request.type) == (bought.order, 1.1, 1)
    assert mt5.positions_get() == ()
    assert mt5.Buy("EURUSD", 1) is None
    with pytest.raises(AttributeError):
        mt5.Buy("NOSUCH", 0.1)


@pytest.mark.rule("A15")
def test_buy_tries_ten_times_at_fresh_prices_while_it_is_requoted(stage: Stage) -> None:
    stage.admin.add_fault("requote", times=9)
    assert stage.mt5.Buy("EURUSD", 0.1).retcode == 10009
    stage.admin.add_fault("reject", retcode=10021, times=10)
    assert stage.mt5.Buy("EURUSD", 0.1).retcode == 10021
    stage.admin.add_fault("requote", times=1)
    assert stage.mt5.Buy("EURUSD", 0.1, 1.1001).retcode == 10004  # with a price of one's own only once


@pytest.mark.rule("A16")
def test_close_tells_whether_all_some_or_none_was_closed(stage: Stage) -> None:
    mt5 = stage.mt5
    assert mt5.Close("EURUSD") is False
    first, second = mt5.Buy("EURUSD", 0.1).order, mt5.Sell("EURUSD", 0.2).order
    assert mt5.Close("EURUSD", ticket=second) is True
    assert [one.ticket for one in mt5.positions_get()] == [first]
    mt5.Buy("EURUSD", 0.1)
    stage.admin.add_fault("reject", times=1)
    assert mt5.Close("EURUSD") == "Partially"
    assert mt5.Close("EURUSD") is True
    assert mt5.Close("EURUSD") is False
    mt5.Buy("EURUSD", 0.1)
    stage.admin.add_fault("lost_answer", function="order_send")
    assert mt5.Close("EURUSD") is None
    mt5.shutdown()
    with pytest.raises(TypeError):
        mt5.Close("EURUSD")
