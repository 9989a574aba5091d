"""Sections T and U: margin, profit, swaps, commission."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mt5_bridge.simulated import symbols
from mt5_bridge.simulated.engine.money import Valuation
from mt5_bridge.simulated.market.calendar import ALWAYS, DAY
from mt5_bridge.simulated.symbols import SymbolSpec, specification
from tests.conformance.stage import LOGIN, Stage
from tests.trading_desk import MONDAY_NOON, Desk

LEVERAGE = 100
BASE: dict[str, Any] = {
    "contract_size": 10.0,
    "trade_tick_size": 0.5,
    "tick_value": 2.0,
    "face_value": 1000.0,
    "currency_margin": "USD",
}


def per_lot(mode: int, price: float = 50.0, *, buy: bool = True, **changes: Any) -> float:
    """Margin of one lot of a symbol of a calculation mode."""
    desk = Desk(**(BASE | {"calc_mode": mode} | changes))
    return desk.book.valuation.margin_per_lot(desk.account, desk.spec, price, buy=buy)


@pytest.mark.rule("T1")
@pytest.mark.parametrize(
    ("mode", "changes", "expected"),
    [
        (symbols.FOREX, {}, 10.0 / LEVERAGE),
        (symbols.FOREX_NO_LEVERAGE, {}, 10.0),
        (symbols.CFD, {}, 10.0 * 50),
        (symbols.CFD_LEVERAGE, {}, 10.0 * 50 / LEVERAGE),
        (symbols.CFD_INDEX, {}, 10.0 * 50 * 2.0 / 0.5),
        (symbols.FUTURES, {"margin_initial": 300.0}, 300.0),
        (symbols.EXCH_FUTURES, {"margin_initial": 300.0}, 300.0),
        (symbols.EXCH_STOCKS, {}, 10.0 * 50),
        (symbols.EXCH_STOCKS_MOEX, {}, 10.0 * 50),
        (symbols.EXCH_BONDS, {}, 10.0 * 1000 * 50 / 100),
        (symbols.EXCH_BONDS_MOEX, {}, 10.0 * 1000 * 50 / 100),
        (symbols.EXCH_OPTIONS, {"margin_initial": 300.0}, 300.0),
        (symbols.EXCH_OPTIONS, {}, 10.0 * 50),
        (symbols.EXCH_OPTIONS_MARGIN, {}, 10.0 * 50),
        (symbols.COLLATERAL, {"margin_initial": 300.0}, 0.0),
    ],
)
def test_margin_by_calculation_mode(mode: int, changes: dict[str, Any], expected: float) -> None:
    assert per_lot(mode, **changes) == pytest.approx(expected)


def test_every_calculation_mode_of_the_api_is_known() -> None:
    from mt5_bridge.contract import CONSTANT_GROUPS

    assert set(CONSTANT_GROUPS["SYMBOL_CALC_MODE"].values()) == symbols.CALC_MODES


@pytest.mark.rule("T2")
def test_a_fixed_margin_replaces_the_formula() -> None:
    for mode in symbols.CALC_MODES - {symbols.COLLATERAL}:
        divisor = LEVERAGE if mode in (symbols.FOREX, symbols.CFD_LEVERAGE) else 1
        assert per_lot(mode, margin_initial=300.0) == pytest.approx(300.0 / divisor)
    future: dict[str, Any] = {"calc_mode": symbols.EXCH_FUTURES, "margin_initial": 300.0, "currency_margin": "USD"}
    desk = Desk(**future, margin_maintenance=200.0)
    assert desk.check(volume=1.0).margin == 300.0
    desk.deal(0, 1.0)
    assert desk.info().margin == 200.0
    same = Desk(**future)
    same.deal(0, 1.0)
    assert same.info().margin == 300.0


@pytest.mark.rule("T3")
def test_margin_is_converted_and_multiplied_by_the_side_s_rate() -> None:
    desk = Desk(margin_rate_buy=2.0, margin_rate_sell=0.5)
    valuation, account = desk.book.valuation, desk.account
    plain = 100_000 / LEVERAGE
    assert valuation.margin_per_lot(account, desk.spec, 1.1001, buy=True) == pytest.approx(plain * 1.1001 * 2.0)
    assert valuation.margin_per_lot(account, desk.spec, 1.1, buy=False) == pytest.approx(plain * 1.1 * 0.5)


@pytest.mark.rule("T4")
def test_margin_does_not_float_with_the_quote(desk: Desk) -> None:
    desk.deal(0, 1.0)
    desk.move((1.2, 1.2001))
    assert desk.info().margin == 1100.1


@pytest.mark.rule("T5")
@pytest.mark.parametrize(("side", "rates"), [("deal", (1.1001, 1.1)), ("other", (1.1, 1.1001))])
def test_the_conversion_of_margin_follows_the_side_of_the_deal(side: str, rates: tuple[float, float]) -> None:
    spec = replace(specification("EURUSD"), name="EURX", calc_mode=symbols.CFD, contract_size=1.0)
    desk = Desk(conventions={"margin_rate_side": side})
    valuation = Valuation(desk.book.specs | {"EURX": spec}, desk.book.quotes, side)
    for buy, rate in zip((True, False), rates, strict=True):
        assert valuation.margin_per_lot(desk.account, spec, 50.0, buy=buy) == pytest.approx(50.0 * rate)


@pytest.mark.rule("T6", "T9")
def test_order_calc_margin(stage: Stage) -> None:
    mt5 = stage.mt5
    assert mt5.order_calc_margin(mt5.ORDER_TYPE_BUY, "EURUSD", 0.1, 1.1001) == 110.01
    assert mt5.order_calc_margin(mt5.ORDER_TYPE_BUY, "USDJPY", 0.1, 150.0) == 100.0
    mt5.order_send({"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "type_filling": 1})
    assert mt5.order_calc_margin(mt5.ORDER_TYPE_SELL, "EURUSD", 0.1, 1.1) == 110.0  # positions do not matter
    for args, codes in (
        ((0, "NOSUCH", 0.1, 1.1), (-1,)),
        ((5, "EURUSD", 0.1, 1.1), (-2,)),
        ((0, "EURUSD", 0.0, 1.1), (-2,)),
    ):
        assert mt5.order_calc_margin(*args) is None
        assert mt5.last_error()[0] in codes
        assert mt5.order_calc_profit(*args, 1.2) is None


@pytest.mark.rule("T7")
def test_netting_takes_margin_for_the_net_position_and_none_for_pending_orders() -> None:
    desk = Desk(account={"margin_mode": 0})
    desk.deal(0, 1.0)
    desk.deal(1, 0.4)
    assert desk.info().margin == pytest.approx(0.6 * 1100.1)
    desk.pending(2, 1.09, 5.0)
    assert desk.info().margin == pytest.approx(0.6 * 1100.1)
    reserving = Desk(margin_rate_pending=0.5)
    reserving.pending(2, 1.0, 1.0)
    assert reserving.info().margin == pytest.approx(500.0)
    assert reserving.check(volume=0.1).margin == pytest.approx(500.0 + 110.01)
    assert reserving.pending(2, 1.0, 20.0).retcode == 10019


@pytest.mark.rule("T8")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.5 * 1100.1 + 1.0 * (1.5 * 1100.1 + 1.0 * 1100.0) / 2.5),
        ({"margin_hedged": 0.0}, 0.5 * 1100.1),
        ({"margin_hedged": 50_000.0}, 0.5 * 1100.1 + 0.5 * (1.5 * 1100.1 + 1.0 * 1100.0) / 2.5),
        ({"margin_hedged_use_leg": True}, 1.5 * 1100.1),
        ({"margin_initial": 1000.0, "margin_hedged": 500.0}, (0.5 * 11.001 + 0.5 * (1.5 * 11.001 + 11.0) / 2.5)),
    ],
)
def test_hedged_margin(changes: dict[str, Any], expected: float) -> None:
    desk = Desk(**changes)
    desk.deal(0, 1.5)
    desk.deal(1, 1.0)
    assert desk.info().margin == pytest.approx(expected, abs=0.01)


@pytest.mark.rule("U1")
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (symbols.FOREX, 2.0 * 10 * 3),
        (symbols.FOREX_NO_LEVERAGE, 2.0 * 10 * 3),
        (symbols.CFD, 2.0 * 10 * 3),
        (symbols.CFD_INDEX, 2.0 * 10 * 3),
        (symbols.CFD_LEVERAGE, 2.0 * 10 * 3),
        (symbols.EXCH_STOCKS, 2.0 * 10 * 3),
        (symbols.FUTURES, 2.0 * 3 * 2.0 / 0.5),
        (symbols.EXCH_FUTURES, 2.0 * 3 * 2.0 / 0.5),
        (symbols.EXCH_BONDS, 3 * 10 * 2.0 * 1000),
    ],
)
def test_profit_by_calculation_mode(mode: int, expected: float) -> None:
    desk = Desk(**(BASE | {"calc_mode": mode, "accrued_interest": 12.5}))
    for buy, sign in ((True, 1), (False, -1)):
        profit = desk.book.valuation.profit(desk.account, desk.spec, 3.0, 50.0, 52.0, buy=buy)
        assert profit == pytest.approx(sign * expected)


@pytest.mark.rule("U1")
@pytest.mark.parametrize("mode", [0, 2])
def test_a_bond_accrues_interest_while_it_is_held(mode: int) -> None:
    day = 1000.0 * 7.3 / 100 / 365  # 0.20 a unit
    start = MONDAY_NOON // DAY * DAY
    desk = Desk(
        account={"margin_mode": mode},
        **(BASE | {"calc_mode": symbols.EXCH_BONDS, "contract_size": 1.0, "margin_initial": 1.0}),
        accrued_interest=12.5,
        accrued_since=start,
        coupon=7.3,
    )
    assert (desk.spec.accrued_at(start), desk.spec.accrued_at(start + 3 * DAY + 5)) == (12.5, 12.5 + 3 * day)
    desk.deal(0, 2.0)
    paid = desk.positions()[0].profit  # the spread
    assert paid == pytest.approx(2.0 * 1000 * -0.0001)
    desk.wait(3 * DAY)
    assert desk.positions()[0].profit == pytest.approx(paid + 2.0 * 3 * day)
    desk.deal(0, 1.0)
    desk.wait(DAY)
    profit = sum(one.profit for one in desk.positions())  # (close x face + accrued) - (open x face + accrued), of each
    assert profit == pytest.approx(1.5 * paid + 2.0 * 4 * day + 1.0 * day)
    before = desk.account.balance
    for position in desk.positions():
        desk.deal(1, position.volume, position=position.ticket)
    assert desk.account.balance == pytest.approx(before + profit)
    if mode == 2:
        desk.deal(1, 1.0)
        desk.wait(DAY)
        assert desk.positions()[0].profit == pytest.approx(0.5 * paid - day)  # who has sold it owes the interest


@pytest.mark.rule("U1")
def test_accrued_interest_of_a_symbol_is_that_of_the_day(stages: Callable[..., Stage]) -> None:
    bond = {"calc_mode": symbols.EXCH_BONDS, "face_value": 1000.0, "coupon": 7.3, "accrued_interest": 1.0}
    stage = stages(symbols={"ACME": bond | {"accrued_since": MONDAY_NOON}})
    assert stage.mt5.symbol_info("ACME").trade_accrued_interest == 1.0
    stage.wait(2 * DAY)
    assert stage.mt5.symbol_info("ACME").trade_accrued_interest == pytest.approx(1.4)


@pytest.mark.rule("U1")
def test_forex_rounds_both_legs(desk: Desk) -> None:
    spec = desk.spec
    odd = desk.book.valuation.profit(desk.account, spec, 0.01, 1.100055, 1.100066, buy=True)
    assert odd == round(round(1.100066 * 1000, 2) - round(1.100055 * 1000, 2), 2)


@pytest.mark.rule("U2")
def test_order_calc_profit_and_conversion(stage: Stage) -> None:
    mt5 = stage.mt5
    assert mt5.order_calc_profit(mt5.ORDER_TYPE_BUY, "EURUSD", 1.0, 1.1, 1.103) == 300.0
    assert mt5.order_calc_profit(mt5.ORDER_TYPE_SELL, "EURUSD", 1.0, 1.1, 1.103) == -300.0
    # The symbol's own close converts (USDJPY), another pair does at bid for buys and ask for sells (EURJPY).
    assert mt5.order_calc_profit(0, "USDJPY", 1.0, 150.0, 150.3) == round(100_000 * 0.3 / 150.3, 2)
    assert mt5.order_calc_profit(0, "EURJPY", 1.0, 165.0, 165.3) == round(100_000 * 0.3 / 150.0, 2)
    assert mt5.order_calc_profit(1, "EURJPY", 1.0, 165.0, 164.7) == round(100_000 * 0.3 / 150.01, 2)


@pytest.mark.rule("U2")
def test_conversion_through_the_dollar_or_not_at_all(desk: Desk) -> None:
    valuation = desk.book.valuation
    assert valuation.rate("EUR", "JPY", at_bid=True) == pytest.approx(1.1 * 150.0)
    assert valuation.rate("EUR", "XXX", at_bid=True) == 0.0


@pytest.mark.rule("U3")
def test_tick_values_have_the_two_sides_of_the_conversion(stage: Stage) -> None:
    info = stage.mt5.symbol_info("USDJPY")
    assert info.trade_tick_value_profit == pytest.approx(0.001 * 100_000 / 150.0)
    assert info.trade_tick_value_loss == pytest.approx(0.001 * 100_000 / 150.01)
    assert stage.mt5.symbol_info("EURUSD").trade_tick_value == pytest.approx(1.0)


@pytest.mark.rule("U4", "R4")
@pytest.mark.parametrize(
    ("mode", "rate", "expected"),
    [
        (0, -5.0, 0.0),
        (1, -5.0, -5.0),  # points x point x contract
        (2, -5.0, -5.0 * 1.1),  # euros, the base currency
        (3, -5.0, -5.0 * 1.1),  # euros, the margin currency
        (4, -5.0, -5.0),
        (5, -3.6, -100_000 * 1.1 * 0.036 / 360),
        (6, -3.6, -100_000 * 1.1001 * 0.036 / 360),
    ],
)
def test_swaps_by_mode(mode: int, rate: float, expected: float) -> None:
    desk = Desk(swap_mode=mode, swap_long=rate, swap_short=0.0)
    desk.deal(0, 1.0)
    desk.deal(1, 1.0)
    desk.wait(DAY)
    assert [position.swap for position in desk.positions()] == [pytest.approx(expected, abs=0.006), 0.0]


@pytest.mark.rule("U4")
def test_swaps_are_triple_on_one_day_and_none_at_weekends() -> None:
    desk = Desk(swap_mode=4, swap_long=-1.0)
    desk.deal(0, 1.0)
    charged = []
    for _ in range(7):  # from Monday noon
        before = desk.positions()[0].swap
        desk.wait(DAY)
        charged.append(round(desk.positions()[0].swap - before, 2))
    assert charged == [-1.0, -1.0, -3.0, -1.0, -1.0, 0.0, 0.0]
    crypto = Desk(swap_mode=4, swap_long=-1.0, sessions=ALWAYS, swap_multipliers=(1.0,) * 7, swap_rollover3days=7)
    crypto.deal(0, 1.0)
    crypto.wait(7 * DAY)
    assert crypto.positions()[0].swap == -7.0


@pytest.mark.rule("U4", "R4")
@pytest.mark.parametrize(
    ("mode", "kind", "reopened"), [(7, 0, 1.10005), (7, 1, 1.10005), (8, 0, 1.10005), (8, 1, 1.09995)]
)
def test_swaps_that_close_and_reopen(mode: int, kind: int, reopened: float) -> None:
    desk = Desk(swap_mode=mode, swap_long=-5.0, swap_short=-5.0)
    desk.deal(kind, 1.0, sl=0.0)
    desk.wait(DAY)
    out, back = desk.account.deals[-2:]
    assert [(one.reason, one.entry) for one in (out, back)] == [(7, 1), (7, 0)]
    assert back.price == pytest.approx(reopened)
    assert [position.volume for position in desk.positions()] == [1.0]


@pytest.mark.rule("U5")
def test_swap_moves_to_the_closing_deal_and_into_the_balance() -> None:
    desk = Desk(swap_mode=4, swap_long=-10.0, commission=7.0, fee=0.25)
    ticket = desk.deal(0, 1.0).order
    desk.wait(DAY)
    assert desk.positions()[0].swap == -10.0
    before = desk.account.balance
    desk.deal(1, 0.25, position=ticket)
    deal = desk.last_deal
    assert (deal.swap, desk.positions()[0].swap) == (-2.5, -7.5)
    assert desk.account.balance == pytest.approx(before + deal.profit + deal.swap + deal.commission + deal.fee)
    desk.deal(1, 0.75, position=ticket)
    assert desk.last_deal.swap == -7.5


@pytest.mark.rule("U6")
def test_commission_and_fee() -> None:
    for on_exit, expected in ((True, [-0.7, -0.7]), (False, [-0.7, 0.0])):
        desk = Desk(commission=7.0, commission_on_exit=on_exit, fee=0.1, account={"commission_blocked": 3.0})
        ticket = desk.deal().order
        desk.deal(1, position=ticket)
        deals = desk.account.deals[1:]
        assert [deal.commission for deal in deals] == expected
        assert [deal.fee for deal in deals] == [-0.1, -0.1]
        assert desk.info().commission_blocked == 3.0


@pytest.mark.rule("U7")
def test_deposits_and_credits(stage: Stage) -> None:
    stage.admin.book_money(LOGIN, 500.0, "Bonus", credit=True)
    deposit, credit = stage.mt5.history_deals_get(0, 2**31 - 1)
    for deal, kind, amount in ((deposit, 2, 10_000.0), (credit, 3, 500.0)):
        assert (deal.type, deal.order, deal.symbol, deal.entry, deal.volume) == (kind, 0, "", 0, 0.0)
        assert (deal.position_id, deal.profit) == (0, amount)
    info = stage.mt5.account_info()
    assert (info.balance, info.credit, info.equity) == (10_000.0, 500.0, 10_500.0)


def test_specs_know_what_is_traded_on_an_exchange() -> None:
    spec: SymbolSpec = specification("EURUSD")
    assert not spec.on_exchange
    assert all(replace(spec, calc_mode=mode).on_exchange for mode in range(32, 40))
