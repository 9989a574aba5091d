"""Sections D, G and H: symbols, Market Watch, depth of market, account and terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mt5_bridge.simulated.engine.filters import matches_group, matches_mask
from mt5_bridge.simulated.market.calendar import DAY
from tests.conformance.stage import LOGIN, PASSWORD, SERVER, Stage, deal, is_struct
from tests.trading_desk import Desk


def names(symbols: Any) -> list[str]:
    return [one.name for one in symbols]


@pytest.mark.rule("D1")
def test_all_symbols_count_not_only_those_in_market_watch(mt5: Any) -> None:
    assert mt5.symbol_select("GBPUSD", False) is True
    symbols = mt5.symbols_get()
    assert mt5.symbols_total() == len(symbols) == 5
    assert all(is_struct(one, "SymbolInfo", 96) for one in symbols)
    assert sum(one.select for one in symbols) == 4


@pytest.mark.rule("D2", "D5")
def test_groups_of_symbols(mt5: Any) -> None:
    assert names(mt5.symbols_get("*USD*")) == names(mt5.symbols_get(group="*USD*")) == ["EURUSD", "GBPUSD", "USDJPY"]
    assert names(mt5.symbols_get(group="*USD*,!EUR*")) == ["GBPUSD", "USDJPY"]
    assert names(mt5.symbols_get(group="*,!*EUR*,!*GBP*")) == ["USDJPY", "ACME"]
    assert names(mt5.symbols_get(group="EURUSD")) == ["EURUSD"]
    assert mt5.symbols_get(group="NOSUCH*") == ()
    assert mt5.last_error() == (1, "Success")
    assert mt5.symbols_get(group="!*EUR*") == ()
    assert len(mt5.symbols_get(group="")) == 5
    for wrong in ((5,), ("a", "b")):
        assert mt5.symbols_get(*wrong) is False
        assert mt5.last_error()[0] == -2


@pytest.mark.rule("D3", "D4")
def test_a_matching_exclusion_wins_and_nothing_matches_nothing() -> None:
    assert not matches_group("EURUSD", "*,!EUR*")
    assert not matches_group("EURUSD", "!EUR*,*")
    assert not matches_group("GBPUSD", "!EUR*")
    assert not matches_group("EURUSD", "")
    assert matches_group("EURUSD", " , EUR* ,, ")
    assert not matches_group("EURUSD", "eur*")
    assert not matches_group("EURUSD", "EURUS?")
    assert not matches_mask("AAAB", "*AAB*")
    assert matches_mask("XAAB", "*AAB*")


@pytest.mark.rule("D6")
def test_unknown_symbols_have_no_info_and_unselected_ones_do(mt5: Any) -> None:
    assert mt5.symbol_info("NOSUCH") is None
    assert mt5.last_error() == (-4, "Terminal: Not found")
    before = mt5.symbol_info("GBPUSD")
    assert before.bid > 0
    mt5.symbol_select("GBPUSD", False)
    info = mt5.symbol_info("GBPUSD")
    assert (info.name, info.select, info.visible, info.digits) == ("GBPUSD", False, False, 5)
    assert (info.bid, info.ask, info.time, info.bidhigh) == (0.0, 0.0, 0, 0.0)
    mt5.symbol_select("GBPUSD")
    assert mt5.symbol_info("GBPUSD") == before


@pytest.mark.rule("D7", "D8")
def test_symbols_are_selected_and_unselected(stages: Callable[..., Stage]) -> None:
    stage = stages()
    mt5 = stage.mt5
    assert mt5.symbol_select("NOSUCH") is False
    assert mt5.last_error() == (-1, "Terminal: Call failed")
    assert mt5.symbol_select("EURUSD", False) is True
    assert mt5.symbol_select("EURUSD", False) is True
    assert mt5.symbol_select("EURUSD") is True
    assert mt5.symbol_info("EURUSD").select is True
    assert stage.terminal._selected()[-1] == "EURUSD"
    mt5.order_send(deal(mt5))
    assert mt5.symbol_select("EURUSD", False) is False
    assert mt5.symbol_select() is False
    assert mt5.last_error()[0] == -2
    strict = stages(conventions={"unselect_unselected": False}).mt5
    assert strict.symbol_select("ACME", False) is True
    assert strict.symbol_select("ACME", False) is False


@pytest.mark.rule("D8")
def test_the_symbol_of_an_open_chart_stays_selected(stages: Callable[..., Stage]) -> None:
    mt5 = stages(startup="[StartUp]\nSymbol=GBPUSD\n").mt5
    assert mt5.symbol_select("GBPUSD", False) is False
    assert mt5.last_error() == (-1, "Terminal: Call failed")
    assert mt5.symbol_info("GBPUSD").select is True
    assert mt5.symbol_select("EURUSD", False) is True


@pytest.mark.rule("D9")
def test_unselected_symbols_have_no_tick_and_no_depth(mt5: Any) -> None:
    mt5.symbol_select("ACME", False)
    assert mt5.symbol_info_tick("ACME") is None
    assert mt5.last_error() == (-4, "Terminal: Not found")
    assert mt5.market_book_add("ACME") is False
    assert mt5.symbol_info_tick("NOSUCH") is None
    assert mt5.last_error()[0] < 0


@pytest.mark.rule("D9")
@pytest.mark.parametrize("code", [10021, 10013])
def test_trading_needs_a_selected_symbol(stages: Callable[..., Stage], code: int) -> None:
    stage = stages(conventions={} if code == 10021 else {"unselected_trade": code})
    mt5, request = stage.mt5, {"symbol": "ACME", "volume": 1.0, "price": 100.02}
    pending = {"action": 5, "symbol": "ACME", "volume": 1.0, "type": 2, "price": 90.0, "type_filling": 2}
    mt5.symbol_select("ACME", False)
    for result in (mt5.order_send(deal(mt5, **request)), mt5.order_send(pending), mt5.order_check(pending)):
        assert result.retcode == code
    assert (mt5.positions_total(), mt5.orders_total()) == (0, 0)
    mt5.symbol_select("ACME")
    assert mt5.order_check(pending).retcode == 0
    assert mt5.order_send(deal(mt5, **request)).retcode == 10009
    mt5.symbol_select("USDJPY", False)  # still selected as a cross of EURJPY
    assert mt5.order_send(deal(mt5, symbol="USDJPY")).retcode == 10009


@pytest.mark.rule("D10")
def test_crosses_for_conversion_are_selected_but_not_visible(mt5: Any) -> None:
    for name in ("USDJPY", "EURUSD"):
        mt5.symbol_select(name, False)
    for name in ("USDJPY", "EURUSD"):  # EURJPY is still there: margin in EUR, profit in JPY
        info = mt5.symbol_info(name)
        assert (info.select, info.visible) == (True, False)
        assert mt5.symbol_info_tick(name) is not None


@pytest.mark.rule("D11", "D12")
def test_prices_of_symbols_and_ticks(stage: Stage) -> None:
    mt5 = stage.mt5
    stage.tick(1.10100, 1.10120)
    info, tick = mt5.symbol_info("EURUSD"), mt5.symbol_info_tick("EURUSD")
    assert is_struct(tick, "Tick", 8)
    assert (info.time, info.bid, info.ask, info.spread) == (tick.time, 1.101, 1.1012, 20)
    assert (info.digits, type(info.spread), type(info.volume_real)) == (5, int, float)
    assert info.bidhigh == 1.101
    assert info.bidlow <= 1.1
    assert info.askhigh == 1.1012
    assert (info.last, info.volume, info.volume_real, tick.last, tick.volume) == (0.0, 0, 0.0, 0.0, 0)
    assert tick.flags & ~128 in (2, 4, 6)
    assert mt5.symbol_info("ACME").last == pytest.approx(100.0)


@pytest.mark.rule("G1", "G2", "G4")
def test_depth_of_market(stage: Stage) -> None:
    mt5 = stage.mt5
    assert mt5.market_book_get("EURUSD") is None
    assert mt5.last_error() == (-1, "Terminal: Call failed")
    assert mt5.market_book_release("EURUSD") is False
    assert mt5.market_book_add("EURUSD") is True
    assert mt5.market_book_add("EURUSD") is True
    book = mt5.market_book_get("EURUSD")
    assert all(is_struct(one, "BookInfo", 4) for one in book)
    assert [type(value) for value in book[0]] == [int, float, int, float]
    kinds = [one.type for one in book]
    assert kinds == sorted(kinds)
    assert set(kinds) == {1, 2}
    for side in (1, 2):
        prices = [one.price for one in book if one.type == side]
        assert prices == sorted(prices, reverse=True)
    assert min(one.price for one in book if one.type == 1) == 1.1001
    assert mt5.market_book_release("EURUSD") is True
    assert mt5.market_book_get("EURUSD")  # one of two subscriptions is left
    assert mt5.market_book_release("EURUSD") is True
    assert mt5.market_book_get("EURUSD") is None
    assert stage.program().market_book_get("EURUSD") is None  # each program counts its own


@pytest.mark.rule("G2")
@pytest.mark.parametrize(("kind", "book_type"), [(0, 4), (1, 3)])
def test_market_orders_that_wait_are_in_the_book(stage: Stage, kind: int, book_type: int) -> None:
    mt5 = stage.mt5
    stage.admin.set_symbol("ACME", liquidity=3.0)
    assert mt5.market_book_add("ACME") is True
    resting = mt5.market_book_get("ACME")
    assert {one.type for one in resting} == {1, 2}
    result = mt5.order_send(deal(mt5, symbol="ACME", volume=5.5, type=kind, type_filling=mt5.ORDER_FILLING_RETURN))
    assert (result.retcode, result.volume) == (10010, 3.0)
    book = mt5.market_book_get("ACME")
    (waiting,) = [one for one in book if one.type not in (1, 2)]
    assert (waiting.type, waiting.volume, waiting.volume_dbl) == (book_type, round(2.5), 2.5)
    sides = [one.type in (1, 3) for one in book]
    assert sides == sorted(sides, reverse=True)  # sells first
    for side in (True, False):
        prices = [one.price for one in book if (one.type in (1, 3)) is side]
        assert prices == sorted(prices, reverse=True)
    stage.tick(100.0, 100.02, symbol="ACME", last=100.0)  # the market takes the rest
    assert mt5.market_book_get("ACME") == resting


@pytest.mark.rule("G3")
def test_symbols_without_depth(stages: Callable[..., Stage]) -> None:
    mt5 = stages(symbols={"EURUSD": {"book_depth": 0}}).mt5
    assert mt5.symbol_info("EURUSD").ticks_bookdepth == 0
    assert mt5.market_book_add("EURUSD") is False


@pytest.mark.rule("H1", "H6")
def test_the_sums_of_an_account(stage: Stage) -> None:
    mt5 = stage.mt5
    info = mt5.account_info()
    assert (info.equity, info.margin, info.margin_free, info.margin_level) == (10_000.0, 0.0, 10_000.0, 0.0)
    stage.admin.book_money(LOGIN, 500.0, credit=True)
    mt5.order_send(deal(mt5, volume=1.0))
    stage.broker.book.accounts[LOGIN].positions[mt5.positions_get()[0].ticket].swap = -2.5
    info = mt5.account_info()
    assert (info.balance, info.credit, info.profit) == (10_000.0, 500.0, -10.0)
    assert info.equity == 10_000.0 + 500.0 - 10.0 - 2.5
    assert info.margin_free == pytest.approx(info.equity - info.margin)
    assert info.margin_level == pytest.approx(info.equity / info.margin * 100)
    for value in (info.balance, info.equity, info.margin, info.profit):
        assert round(value, info.currency_digits) == value
    assert type(mt5.terminal_info().ping_last) is int
    assert mt5.terminal_info().retransmission == 0.0


@pytest.mark.rule("H6")
@pytest.mark.parametrize("digits", [0, 2, 3])
def test_amounts_have_the_digits_of_their_currency(digits: int) -> None:
    # Prices and balances whose sums and differences leave dust behind in floating point.
    for step in range(20):
        desk = Desk(
            10_000.1 + step / 10, account={"currency_digits": digits}, swap_mode=4, swap_long=-0.123456, commission=1.23
        )
        desk.deal(0, 0.37)
        desk.move((1.1 + step / 1e5, 1.1001 + step / 1e5))
        desk.wait(DAY)
        info, (position,) = desk.info(), desk.positions()
        amounts = [
            info.balance,
            info.profit,
            info.equity,
            info.margin,
            info.margin_free,
            position.profit,
            position.swap,
        ]
        desk.deal(1, 0.11, position=position.ticket)
        amounts += [desk.last_deal.profit, desk.last_deal.swap, desk.last_deal.commission, desk.account.balance]
        assert amounts == [round(value, digits) for value in amounts]


@pytest.mark.rule("H2", "H3")
def test_settings_of_an_account(stage: Stage) -> None:
    info = stage.mt5.account_info()
    assert (info.trade_mode, info.margin_mode, info.margin_so_mode, info.fifo_close) == (0, 2, 0, False)
    changes = {"trade_mode": 2, "margin_mode": 0, "margin_so_mode": 1, "fifo_close": True, "limit_orders": 0}
    stage.admin.configure_account(LOGIN, **changes, leverage=50)
    info = stage.mt5.account_info()
    assert {name: getattr(info, name) for name in changes} == changes
    assert info.leverage == 50
    # T1: half the leverage, twice the margin; no limit on pending orders.
    assert stage.mt5.order_calc_margin(0, "EURUSD", 0.1, 1.1) == 220.0
    pending = {"action": 5, "symbol": "EURUSD", "volume": 0.01, "type": 2, "price": 1.0, "type_filling": 2}
    assert all(stage.mt5.order_send(pending).retcode == 10009 for _ in range(3))


@pytest.mark.rule("H4", "L7", "L13")
def test_accounts_that_may_not_trade(stage: Stage) -> None:
    mt5 = stage.mt5
    stage.admin.configure_account(LOGIN, trade_allowed=False)
    assert mt5.account_info().trade_allowed is False
    assert (mt5.order_send(deal(mt5)).retcode, mt5.order_send(deal(mt5)).comment) == (10017, "Trade disabled")
    stage.admin.configure_account(LOGIN, trade_allowed=True, trade_expert=False)
    assert mt5.account_info().trade_expert is False
    result = mt5.order_send(deal(mt5))
    assert (result.retcode, result.comment) == (10026, "AutoTrading disabled by server")


@pytest.mark.rule("H4")
def test_an_investor_looks_and_does_not_trade(stage: Stage) -> None:
    stage.admin.set_investor_password(LOGIN, "look-only")
    kept = stage.mt5.order_send(deal(stage.mt5)).order
    mt5 = stage.mt5
    assert mt5.login(LOGIN, password="look-only", server=SERVER) is True
    info = mt5.account_info()
    assert (info.login, info.trade_allowed, info.trade_expert) == (LOGIN, False, True)
    assert [one.ticket for one in mt5.positions_get()] == [kept]
    for result in (mt5.order_send(deal(mt5)), mt5.order_check(deal(mt5))):
        assert (result.retcode, result.comment) == (10017, "Trade disabled")
    assert mt5.positions_total() == 1
    assert mt5.login(LOGIN, password="wrong", server=SERVER) is False
    assert mt5.login(LOGIN, password=PASSWORD, server=SERVER) is True
    assert mt5.account_info().trade_allowed is True
    assert mt5.order_send(deal(mt5)).retcode == 10009


@pytest.mark.rule("H5", "L13")
def test_the_algo_trading_button(stage: Stage) -> None:
    mt5 = stage.mt5
    assert mt5.terminal_info().trade_allowed is True
    assert mt5.terminal_info().tradeapi_disabled is False
    stage.admin.set_algo_trading(LOGIN, on=False)
    stage.until(lambda: not mt5.terminal_info().trade_allowed)
    for result in (mt5.order_send(deal(mt5)), mt5.order_check(deal(mt5))):
        assert (result.retcode, result.comment) == (10027, "AutoTrading disabled by client")
    stage.admin.set_algo_trading(LOGIN, on=True)
    stage.until(lambda: mt5.terminal_info().trade_allowed)
    assert mt5.order_send(deal(mt5)).retcode == 10009


@pytest.mark.rule("H5", "I5")
def test_trading_from_python_can_be_switched_off(stages: Callable[..., Stage]) -> None:
    mt5 = stages(startup="[Experts]\nApi=1\n").mt5
    assert mt5.terminal_info().tradeapi_disabled is True
    assert mt5.order_send(deal(mt5)) is None
    assert mt5.last_error() == (-8, "Auto-Trading using Python API disabled in Terminal")
    assert mt5.order_check(deal(mt5)).retcode == 0
    older = stages(startup="[Experts]\nApi=1\n", conventions={"python_disabled_retcode": True}).mt5
    assert older.order_send(deal(older)).retcode == 10027
    assert older.positions_total() == 0


def test_terminal_info_has_its_types(mt5: Any) -> None:
    info = mt5.terminal_info()
    assert is_struct(info, "TerminalInfo", 22)
    assert [type(value) for value in info] == [bool] * 10 + [int] * 4 + [float] * 2 + [str] * 6
    account = mt5.account_info()
    assert (type(account.login), type(account.trade_allowed), type(account.balance)) == (int, bool, float)
