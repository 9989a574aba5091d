"""The acceptance scenarios, function by function; what the rules' own tests already show in full is not repeated."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mt5_bridge.contract import CONSTANTS, STRUCTS
from tests.conformance.stage import LOGIN, PASSWORD, SERVER, Stage, deal, is_struct

EVER = 2**31 - 1


def ok(mt5: Any) -> bool:
    return bool(mt5.last_error() == (1, "Success"))


def test_initialize_and_login(stage: Stage) -> None:
    mt5 = stage.program(connected=False)
    assert mt5.last_error() == (0, "")
    assert mt5.account_info() is None
    assert mt5.initialize() is True
    assert ok(mt5)
    assert mt5.initialize() is True
    assert ok(mt5)
    assert mt5.initialize("C:\\no\\such\\terminal64.exe") is False
    assert mt5.last_error()[0] == -10003
    assert mt5.last_error()[1].startswith("IPC initialize failed")
    assert mt5.login(LOGIN, PASSWORD, SERVER) is False
    assert mt5.last_error()[0] == -10004
    assert mt5.initialize(nonsense=1) is True
    assert mt5.login(LOGIN, password=PASSWORD, server=SERVER) is True
    assert mt5.account_info().login == LOGIN


def test_shutdown_and_version(mt5: Any) -> None:
    assert [type(part) for part in mt5.version()] == [int, int, str]
    assert mt5.version()[0] == 500
    assert mt5.shutdown() is True
    assert mt5.shutdown() is True
    assert mt5.positions_get() is None
    assert mt5.version() == (0, 0, "")
    assert mt5.last_error()[0] == -10004


def test_account_info(mt5: Any) -> None:
    account = mt5.account_info()
    assert is_struct(account, "AccountInfo", 28)
    assert [type(value) for value in account] == [kind for _, kind in STRUCTS["AccountInfo"]]
    assert account.equity == account.balance + account.credit
    assert (account.margin, account.margin_free, account.margin_level) == (0.0, account.equity, 0.0)
    assert account[0] == account.login
    with pytest.raises((AttributeError, TypeError)):
        account.balance = 1
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(account)


def test_every_struct_has_its_types(stage: Stage) -> None:
    mt5 = stage.mt5
    result = mt5.order_send(deal(mt5))
    mt5.order_send({"action": 5, "symbol": "EURUSD", "volume": 0.1, "type": 2, "price": 1.0, "type_filling": 2})
    mt5.market_book_add("EURUSD")
    values = [mt5.account_info(), mt5.terminal_info(), mt5.symbol_info("EURUSD"), mt5.symbol_info_tick("EURUSD")]
    values += [mt5.market_book_get("EURUSD")[0], mt5.orders_get()[0], mt5.positions_get()[0]]
    values += [mt5.history_deals_get(0, EVER)[0], result, mt5.order_check(deal(mt5)), result.request]
    assert {type(value).__name__ for value in values} == set(STRUCTS)
    for value in values:
        for (field, kind), item in zip(STRUCTS[type(value).__name__], value, strict=True):
            assert isinstance(item, kind), (type(value).__name__, field, item)
            assert type(item) is kind or kind is tuple, (type(value).__name__, field, item)


def test_symbols(mt5: Any) -> None:
    total = mt5.symbols_total()
    assert total == len(mt5.symbols_get()) >= sum(one.select for one in mt5.symbols_get())
    assert all("USD" not in one.name and "EUR" not in one.name for one in mt5.symbols_get(group="*,!*USD*,!*EUR*"))
    info = mt5.symbol_info("EURUSD")
    assert (info.name, info.digits, type(info.spread), type(info.volume_real)) == ("EURUSD", 5, int, float)
    assert info.spread == round((info.ask - info.bid) / info.point)
    with pytest.raises(TypeError):
        mt5.symbol_info(symbol="EURUSD")
    tick = mt5.symbol_info_tick("EURUSD")
    assert tick.ask >= tick.bid > 0
    assert tick.time == tick.time_msc // 1000


def test_copy_rates(stage: Stage) -> None:
    mt5 = stage.mt5
    bars = mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_H1, 0, 10)
    frame = pd.DataFrame(bars)
    assert [kind.kind for kind in frame.dtypes] == ["i", "f", "f", "f", "f", "u", "i", "u"]
    assert np.array_equal(mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_H1, 1, 9), bars[:-1])
    assert mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_H1, 0, mt5.terminal_info().maxbars) is None
    assert mt5.last_error()[0] == -2
    with pytest.raises(SystemError):
        mt5.copy_rates_from_pos("EURUSD", "H1", 0, 10)
    assert mt5.copy_rates_from_pos("EURUSD", 1, 0) is None
    assert mt5.last_error() == (-2, "Invalid arguments")
    with pytest.raises(TypeError):
        mt5.copy_rates_from_pos(symbol="EURUSD")


def test_positions_after_a_buy(mt5: Any) -> None:
    assert mt5.positions_get() == ()
    assert ok(mt5)
    assert (mt5.positions_total(), mt5.orders_total()) == (0, 0)
    result = mt5.order_send(deal(mt5))
    (position,) = mt5.positions_get()
    assert is_struct(position, "TradePosition", 19)
    assert position.ticket == position.identifier == result.order
    assert (position.type, position.reason, position.magic, position.comment) == (0, 3, 7, "t")
    assert position.price_current == mt5.symbol_info_tick("EURUSD").bid
    assert mt5.positions_total() == 1


def test_orders_after_a_buy_limit(mt5: Any) -> None:
    request = {"action": 5, "symbol": "EURUSD", "volume": 0.1, "type": 2, "price": 1.09, "type_filling": 2}
    assert mt5.order_send(request).retcode == 10009
    (order,) = mt5.orders_get()
    assert is_struct(order, "TradeOrder", 24)
    assert (order.state, order.type, order.position_id, order.time_done) == (1, 2, 0, 0)
    assert (order.volume_initial, order.volume_current, order.price_open) == (0.1, 0.1, 1.09)
    assert order.price_current == mt5.symbol_info_tick("EURUSD").ask
    assert mt5.orders_total() == 1


def test_order_check(stage: Stage) -> None:
    mt5 = stage.mt5
    assert mt5.order_check(deal(mt5)).retcode == 0
    for change, code in (({"volume": 1000.0}, 10014), ({"volume": 400.0}, 10019), ({"action": 99}, 10013)):
        assert mt5.order_check(deal(mt5, **change)).retcode == code
    assert mt5.order_check(deal(mt5, volume=1)) is None
    assert mt5.last_error() == (-2, 'Invalid "volume" argument')
    assert mt5.order_check(**deal(mt5)).retcode == 0


def test_a_round_trip(stage: Stage) -> None:
    mt5 = stage.mt5
    opened = mt5.order_send(deal(mt5))
    stage.tick(1.103, 1.1031)
    part = mt5.order_send(deal(mt5, type=1, volume=0.04, position=opened.order))
    assert part.request_id == opened.request_id + 1
    (position,) = mt5.positions_get()
    assert (position.ticket, position.volume, position.price_open) == (opened.order, 0.06, 1.1001)
    before = mt5.account_info().balance
    closed = mt5.order_send(deal(mt5, type=1, volume=0.06, position=opened.order))
    last = mt5.history_deals_get(ticket=closed.deal)[0]
    assert mt5.positions_get() == ()
    assert mt5.account_info().balance == pytest.approx(before + last.profit + last.swap + last.commission + last.fee)
    assert mt5.history_orders_total(0, EVER) == 3
    assert mt5.history_deals_total(0, EVER) == 4  # with the deposit
    assert mt5.order_send(deal(mt5, type=1, position=12345)).retcode in (10013, 10036)


def test_netting_over_the_api(stage: Stage) -> None:
    mt5 = stage.mt5
    stage.admin.configure_account(LOGIN, margin_mode=0)
    first = mt5.order_send(deal(mt5))
    stage.tick(1.1004, 1.1005)
    mt5.order_send(deal(mt5, volume=0.3, sl=1.09))
    (position,) = mt5.positions_get()
    assert (position.volume, position.sl) == (0.4, 1.09)
    assert position.price_open == pytest.approx(1.1004)
    reversed_ = mt5.order_send(deal(mt5, type=1, volume=0.6))
    (position,) = mt5.positions_get()
    assert (position.type, position.volume, position.identifier, position.ticket) == (
        1,
        0.2,
        first.order,
        reversed_.order,
    )
    assert mt5.history_deals_get(ticket=reversed_.deal)[0].entry == 2
    assert len(mt5.history_deals_get(position=first.order)) == 3


def test_stops_pending_orders_and_their_ends(stage: Stage) -> None:
    mt5 = stage.mt5
    ticket = mt5.order_send(deal(mt5)).order
    change = {"action": mt5.TRADE_ACTION_SLTP, "position": ticket, "sl": 1.09, "tp": 1.11}
    assert tuple(mt5.order_send(change))[:4] == (10009, 0, 0, 0.0)
    assert mt5.order_send(change).retcode == 10025
    assert mt5.order_send(change | {"sl": 1.2}).retcode == 10016
    assert mt5.order_send(change | {"tp": 0.0}).retcode == 10009
    assert mt5.positions_get()[0].tp == 0.0
    pending = {"action": 5, "symbol": "EURUSD", "volume": 0.1, "type": 2, "price": 1.09, "type_filling": 2}
    assert mt5.order_send(pending | {"price": 1.2}).retcode == 10015
    order = mt5.order_send(pending | {"price": 1.08}).order
    assert mt5.order_send({"action": 7, "order": order, "price": 1.07}).retcode == 10009
    assert mt5.orders_get()[0].price_open == 1.07
    assert mt5.order_send({"action": 8, "order": order}).retcode == 10009
    assert mt5.history_orders_get(ticket=order)[0].state == 2
    timed = pending | {"price": 1.05, "type_time": mt5.ORDER_TIME_SPECIFIED, "expiration": stage.now + 60}
    ending = mt5.order_send(timed).order
    assert mt5.order_send(timed | {"expiration": stage.now}).retcode == 10022
    assert mt5.order_send(timed | {"expiration": np.datetime64("2025-01-01")}) is None
    assert mt5.last_error() == (-2, 'Invalid "expiration" argument')
    stage.wait(61)
    assert mt5.history_orders_get(ticket=ending)[0].state == 6
    stage.tick(1.0899, 1.09)
    assert mt5.positions_get() == ()
    last = mt5.history_deals_get(0, EVER)[-1]
    assert (last.reason, last.comment) == (4, "[sl 1.09000]")


def test_close_by_over_the_api(stage: Stage) -> None:
    mt5 = stage.mt5
    long, short = mt5.order_send(deal(mt5, volume=0.3)).order, mt5.order_send(deal(mt5, type=1)).order
    request = {"action": mt5.TRADE_ACTION_CLOSE_BY, "position": long, "position_by": short}
    result = mt5.order_send(request)
    assert result.retcode == 10009
    order = mt5.history_orders_get(ticket=result.order)[0]
    assert (order.type, order.position_by_id, order.comment) == (8, short, f"#{long} by #{short}")
    assert [one.volume for one in mt5.positions_get()] == [0.2]
    stage.admin.configure_account(LOGIN, margin_mode=0)
    assert mt5.order_send(request).retcode == 10013


@pytest.mark.parametrize(
    ("symbol", "account", "request_", "retcode"),
    [
        ({}, {}, {"volume": 0.015}, 10014),
        ({}, {}, {"volume": 0.0}, 10014),
        ({}, {}, {"volume": 501.0}, 10014),
        ({}, {}, {"type_filling": 2}, 10030),
        ({"trade_mode": 0}, {}, {}, 10017),
        ({"trade_mode": 1}, {}, {"type": 1}, 10042),
        ({"trade_mode": 2}, {}, {}, 10043),
        ({"trade_mode": 3}, {}, {}, 10044),
        ({}, {}, {"volume": 400.0}, 10019),
        ({}, {"trade_expert": False}, {}, 10026),
        ({}, {"trade_allowed": False}, {}, 10017),
        ({"execution": 1}, {}, {"price": 1.0999, "deviation": 5}, 10004),
        ({"execution": 1}, {}, {"price": 0.0}, 10015),
        ({"volume_limit": 0.05}, {}, {}, 10034),
        ({"order_mode": 126}, {}, {}, 10035),
    ],
)
def test_refusals_over_the_api(
    stage: Stage, symbol: dict[str, Any], account: dict[str, Any], request_: dict[str, Any], retcode: int
) -> None:
    mt5 = stage.mt5
    stage.admin.set_symbol("EURUSD", **symbol)
    stage.admin.configure_account(LOGIN, **account)
    before = (mt5.positions_get(), mt5.orders_get(), mt5.account_info().balance)
    result = mt5.order_send(deal(mt5, **request_))
    assert (result.retcode, result.deal, result.order) == (retcode, 0, 0)
    assert (mt5.positions_get(), mt5.orders_get(), mt5.account_info().balance) == before


def test_market_closed_and_quotes_gone(stages: Callable[..., Stage]) -> None:
    stage = stages()
    stage.wait(5 * 86_400)
    result = stage.mt5.order_send(deal(stage.mt5))
    assert (result.retcode, result.comment) == (10018, "Market closed")


def test_constants_and_classes(mt5: Any) -> None:
    assert all(getattr(mt5, name) == value for name, value in CONSTANTS.items())
    assert mt5.TradePosition(range(19)).ticket == 0
    with pytest.raises(TypeError):
        mt5.TradePosition((1,))
    assert not hasattr(mt5, "TRADE_RETCODE_HEDGE_PROHIBITED")
