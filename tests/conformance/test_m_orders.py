"""Sections M, N, O, P and Q: filling, lifetimes, pending orders, stops, sessions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.market.calendar import DAY, FX_WEEK, WeeklySessions
from mt5_bridge.simulated.symbols import EXCH_STOCKS
from tests.trading_desk import LOGIN, MONDAY_NOON, Desk

EXCHANGE: dict[str, Any] = {"execution": 3, "filling_mode": 7, "calc_mode": EXCH_STOCKS, "contract_size": 1.0}


@pytest.mark.rule("M1")
def test_flags_and_request_values_of_filling_are_different_numbers() -> None:
    for mode, accepted in ((1, {0}), (2, {1}), (3, {0, 1}), (0, set())):
        desk = Desk(filling_mode=mode)
        codes = {policy: desk.deal(type_filling=policy).retcode for policy in range(4)}
        assert {policy for policy, code in codes.items() if code == 10009} == accepted
    omitted = Desk(filling_mode=1)
    assert omitted.send(action=1, volume=0.1, type=0).retcode == 10009


@pytest.mark.rule("M2")
def test_filling_of_market_deals_by_execution() -> None:
    def accepted(**changes: Any) -> set[int]:
        desk = Desk(**changes)
        done = {policy: desk.deal(type_filling=policy, price=1.1001).retcode for policy in range(4)}
        return {policy for policy, code in done.items() if code == 10009}

    assert accepted(execution=2, filling_mode=7) == {0, 1}
    assert accepted(execution=3, filling_mode=7) == {0, 1, 2, 3}
    assert accepted(execution=3, filling_mode=0) == {2}
    assert accepted(execution=1, filling_mode=0) == {0, 1, 2, 3}
    assert accepted(execution=0, filling_mode=0) == {0, 1, 2, 3}
    assert accepted(execution=1, filling_mode=0, conventions={"filling_free_on_instant": False}) == {0}


@pytest.mark.rule("M3")
def test_filling_of_pending_orders() -> None:
    desk = Desk(filling_mode=1)
    codes = [desk.pending(2, 1.09, type_filling=policy).retcode for policy in range(4)]
    assert codes == [10009, 10030, 10009, 10030]
    tolerant = Desk(filling_mode=1, conventions={"pending_filling_tolerated": True})
    assert tolerant.pending(2, 1.09, type_filling=1).retcode == 10009


@pytest.mark.rule("M4")
def test_fill_or_kill_all_or_nothing() -> None:
    desk = Desk(liquidity=0.3)
    before = desk.facts()
    assert desk.deal(volume=0.4, type_filling=0).retcode == 10006
    assert desk.facts() == before
    assert desk.deal(volume=0.3, type_filling=0).retcode == 10009
    assert desk.deal(volume=0.1, type_filling=0).retcode == 10006  # this tick is used up
    desk.move((1.1, 1.1001))
    assert desk.deal(volume=0.1, type_filling=0).retcode == 10009


@pytest.mark.rule("M4")
def test_return_leaves_the_rest_in_the_book_until_it_is_filled() -> None:
    desk = Desk(execution=3, liquidity=0.4)
    result = desk.deal(volume=1.0, type_filling=2)
    assert (result.retcode, result.volume) == (10010, 0.4)
    (order,) = desk.orders()
    assert (order.state, order.volume_initial, order.volume_current) == (3, 1.0, 0.6)
    desk.move((1.1, 1.1003), (1.1, 1.1003))
    assert desk.orders() == ()
    (position,) = desk.positions()
    assert (position.ticket, position.volume) == (result.order, 1.0)
    assert position.price_open == pytest.approx(0.4 * 1.1001 + 0.6 * 1.1003)
    assert (desk.last_order.state, desk.last_order.volume_current) == (4, 0.0)
    assert [deal.volume for deal in desk.account.deals[1:]] == [0.4, 0.4, 0.2]


@pytest.mark.rule("M4", "K2")
def test_with_nothing_in_the_market_a_return_order_is_placed() -> None:
    desk = Desk(execution=3, liquidity=0.4)
    desk.deal(volume=0.4)
    result = desk.deal(volume=0.3, type_filling=2)
    assert (result.retcode, result.deal, result.volume) == (10008, 0, 0.3)
    desk.move((1.1, 1.1001))
    assert desk.last_order.state == 4


@pytest.mark.rule("M4")
def test_book_or_cancel_never_takes_from_the_market() -> None:
    desk = Desk(**EXCHANGE)
    resting, through = desk.pending(2, 1.09, type_filling=3), desk.pending(2, 1.2, type_filling=3)
    assert [order.ticket for order in desk.orders()] == [resting.order]
    assert (desk.last_order.ticket, desk.last_order.state) == (through.order, 2)
    assert desk.pending(4, 1.2, type_filling=3).retcode == 10030  # limits and stop-limits only
    stop_limit = desk.pending(6, 1.11, stoplimit=1.105, type_filling=3)
    desk.move((1.1098, 1.1099, 1.11))
    assert desk.orders()[-1].ticket == stop_limit.order  # turned into a limit below the market
    assert desk.orders()[-1].type == 2


@pytest.mark.rule("M6", "M7")
def test_orders_end_at_their_time() -> None:
    for convention, end in ((86_399, DAY - 1), (0, 0)):
        desk = Desk(conventions={"specified_day_end": convention})
        midnight = desk.book.now_msc // 1000 // DAY * DAY
        ends = {
            desk.pending(2, 1.09, type_time=1).order: midnight + DAY - 1,
            desk.pending(2, 1.09, type_time=2, expiration=midnight + DAY + 60).order: midnight + DAY + 60,
            desk.pending(2, 1.09, type_time=3, expiration=midnight + DAY + 60).order: midnight + DAY + end,
        }
        desk.wait(2 * DAY)
        assert desk.orders() == ()
        assert len(desk.account.deals) == 1
        for order in desk.account.history:
            assert (order.state, order.time_done, order.position_id) == (6, ends[order.ticket], 0)


@pytest.mark.rule("M6")
def test_outside_a_session_an_order_ends_at_the_next_one() -> None:
    desk = Desk()
    saturday = MONDAY_NOON + 5 * DAY
    desk.pending(2, 1.09, type_time=2, expiration=saturday)
    desk.wait(6 * DAY)
    assert len(desk.orders()) == 1
    desk.wait(DAY)
    assert (desk.orders(), desk.last_order.time_done) == ((), saturday + DAY + DAY // 2)  # Monday 00:00


@pytest.mark.rule("M8")
@pytest.mark.parametrize(("mode", "orders", "stops"), [(0, 2, 1.09), (1, 1, 0.0), (2, 1, 1.09)])
def test_what_a_day_s_end_drops(mode: int, orders: int, stops: float) -> None:
    desk = Desk(order_gtc_mode=mode)
    desk.deal(sl=1.09)
    desk.pending(2, 1.08)
    later = desk.pending(2, 1.08, type_time=2, expiration=desk.book.now_msc // 1000 + 10 * DAY)
    desk.wait(DAY)
    assert len(desk.orders()) == orders
    assert desk.orders()[-1].ticket == later.order  # only GTC orders are dropped
    assert desk.positions()[0].sl == stops


@pytest.mark.rule("N1")
@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [(2, 1.1000, 1.1001), (3, 1.1001, 1.1000), (4, 1.1002, 1.1001), (5, 1.0999, 1.1000)],
)
def test_pending_prices_lie_on_their_side(desk: Desk, kind: int, good: float, bad: float) -> None:
    assert desk.pending(kind, bad).retcode == 10015
    assert desk.pending(kind, good).retcode == 10009


@pytest.mark.rule("N1")
def test_stop_limit_prices(desk: Desk) -> None:
    assert desk.pending(6, 1.101, stoplimit=1.1009).retcode == 10009
    assert desk.pending(6, 1.101, stoplimit=1.101).retcode == 10015
    assert desk.pending(6, 1.1001, stoplimit=1.09).retcode == 10015
    assert desk.pending(7, 1.099, stoplimit=1.0991).retcode == 10009
    assert desk.pending(7, 1.099, stoplimit=1.099).retcode == 10015
    assert desk.pending(6, 1.101).retcode == 10015


@pytest.mark.rule("N1")
def test_an_exchange_takes_limits_at_any_price_and_fills_them_at_once() -> None:
    desk = Desk(**EXCHANGE)
    result = desk.pending(2, 1.2)
    assert result.retcode == 10009
    assert (desk.orders(), desk.positions()[0].price_open) == ((), 1.1001)


@pytest.mark.rule("N2", "N3")
@pytest.mark.parametrize(
    ("kind", "price", "short", "reach", "filled"),
    [
        (2, 1.09, (1.0890, 1.0901), (1.0888, 1.0889), 1.0889),
        (3, 1.11, (1.1099, 1.1112), (1.1103, 1.1104), 1.1103),
        (4, 1.11, (1.1105, 1.1099), (1.1104, 1.1105), 1.1105),
        (5, 1.09, (1.0901, 1.0890), (1.0895, 1.0896), 1.0895),
    ],
)
def test_buys_watch_the_ask_and_sells_the_bid(
    desk: Desk, kind: int, price: float, short: tuple[float, float], reach: tuple[float, float], filled: float
) -> None:
    order = desk.pending(kind, price).order
    desk.move(short)
    assert len(desk.orders()) == 1
    desk.move(reach)
    (position,) = desk.positions()
    assert (position.ticket, position.price_open) == (order, filled)  # a limit at its price or better, stops slip
    assert (desk.last_order.state, desk.last_deal.entry) == (4, 0)


@pytest.mark.rule("N2", "N3")
def test_on_an_exchange_the_last_deal_triggers_and_the_quotes_fill() -> None:
    desk = Desk(**EXCHANGE)
    desk.quote(1.1, 1.1001, 1.1)
    desk.pending(4, 1.11)
    desk.move((1.1105, 1.1107, 1.1))  # the quotes are through, no deal yet
    assert len(desk.orders()) == 1
    desk.move((1.1105, 1.1107, 1.11))
    assert desk.positions()[0].price_open == 1.1107
    limit = Desk(**EXCHANGE)
    limit.pending(2, 1.09)
    limit.move((1.0899, 1.0905, 1.09))
    assert limit.positions()[0].price_open == 1.09  # never worse than the limit


@pytest.mark.rule("N4")
@pytest.mark.parametrize(("kind", "after", "price", "limit", "quote"), [
    (6, 2, 1.11, 1.105, (1.11, 1.1101)), (7, 3, 1.09, 1.095, (1.0899, 1.09)),
])  # fmt: skip
def test_a_stop_limit_becomes_a_limit(
    desk: Desk, kind: int, after: int, price: float, limit: float, quote: tuple[float, float]
) -> None:
    ticket = desk.pending(kind, price, stoplimit=limit).order
    placed = desk.orders()[0].time_setup_msc
    desk.move(quote)
    (order,) = desk.orders()
    assert (order.ticket, order.type, order.price_open, order.price_stoplimit) == (ticket, after, limit, 0.0)
    assert order.time_setup_msc > placed


@pytest.mark.rule("N5")
def test_without_money_at_activation_an_order_is_rejected(desk: Desk) -> None:
    order = desk.pending(2, 1.09, 50.0).order
    desk.move((1.0898, 1.0899))
    assert (desk.last_order.ticket, desk.last_order.state) == (order, 5)
    assert (desk.positions(), len(desk.account.deals)) == ((), 1)


@pytest.mark.rule("N6")
def test_an_active_order_s_fields(desk: Desk) -> None:
    desk.pending(2, 1.09)
    desk.pending(5, 1.08)
    buy, sell = desk.orders()
    assert (buy.state, buy.volume_initial, buy.volume_current, buy.position_id, buy.time_done) == (1, 0.1, 0.1, 0, 0)
    assert (buy.price_open, buy.price_current, sell.price_current) == (1.09, 1.1001, 1.1)


@pytest.mark.rule("N7", "N8")
def test_orders_are_modified_and_removed(desk: Desk) -> None:
    order = desk.pending(2, 1.09, 0.1, sl=1.08, tp=1.12, magic=7, comment="mine").order
    ends = desk.book.now_msc // 1000 + 60
    change = {"price": 1.085, "volume": 0.5, "type": 4, "magic": 9, "comment": "new", "type_time": 2}
    assert desk.send(action=7, order=order, expiration=ends, **change).retcode == 10009
    (after,) = desk.orders()
    assert (after.price_open, after.sl, after.tp, after.type_time, after.time_expiration) == (1.085, 0.0, 0.0, 2, ends)
    assert (after.volume_current, after.type, after.magic, after.comment) == (0.1, 2, 7, "mine")
    assert desk.exchange.send(LOGIN, Request(action=8, order=order), 9).retcode == 10009  # no symbol needed
    done = desk.last_order
    assert (desk.orders(), done.state, done.volume_current, done.position_id) == ((), 2, 0.1, 0)


@pytest.mark.rule("N9")
def test_stops_of_a_pending_order_are_seen_from_its_price(desk: Desk) -> None:
    assert desk.pending(2, 1.09, sl=1.095).retcode == 10016
    assert desk.pending(2, 1.09, sl=1.085, tp=1.095).retcode == 10009
    assert desk.pending(6, 1.11, stoplimit=1.105, sl=1.106).retcode == 10016


@pytest.mark.rule("O2")
def test_a_stop_out_of_a_large_net_position_is_split() -> None:
    for trade_mode, volumes in ((2, [0.5, 0.4]), (0, [0.9])):
        desk = Desk(1100.0, account={"margin_mode": 0, "trade_mode": trade_mode, "margin_so_so": 100.0}, volume_max=0.5)
        assert [desk.deal(0, volume).retcode for volume in (0.5, 0.4)] == [10009, 10009]
        desk.move((1.0840, 1.0841))  # the loss is larger than the balance
        assert [deal.volume for deal in desk.account.deals if deal.reason == 6] == volumes


@pytest.mark.rule("P2")
def test_stops_of_a_deal_are_seen_from_the_price_it_would_close_at(desk: Desk) -> None:
    assert desk.deal(0, tp=1.10005).retcode == 10009  # above the bid, below the ask
    assert desk.deal(1, tp=1.10005).retcode == 10009
    strict = Desk(conventions={"stops_in_market_deals": False})
    assert strict.deal(0, sl=1.09).retcode == 10016
    assert strict.deal(0).retcode == 10009


@pytest.mark.rule("P4")
def test_stops_need_a_ticket_on_hedging_and_a_symbol_on_netting(desk: Desk) -> None:
    ticket = desk.deal(sl=1.09, tp=1.11).order
    assert desk.send(action=6, sl=1.08).retcode == 10013
    assert desk.sltp(ticket, tp=1.12).retcode == 10009
    assert (desk.positions()[0].sl, desk.positions()[0].tp) == (0.0, 1.12)
    netting = Desk(account={"margin_mode": 0})
    netting.deal()
    assert netting.send(action=6, sl=1.08).retcode == 10009
    assert netting.positions()[0].sl == 1.08


@pytest.mark.rule("Q3")
def test_quotes_and_trading_have_tables_of_their_own() -> None:
    late = WeeklySessions.on_days([1], start=22 * 60, end=26 * 60)  # Monday 22:00 to Tuesday 02:00
    monday = MONDAY_NOON // DAY * DAY
    assert late.is_open(monday + 23 * 3600)
    assert late.is_open(monday + DAY + 3600)
    assert not late.is_open(monday + DAY + 2 * 3600)
    assert not late.is_open(monday + 3600)
    desk = Desk(sessions=late, quote_sessions=FX_WEEK)
    assert desk.deal().retcode == 10018
    desk.wait(11 * 3600)
    ticket = desk.deal(sl=1.09).order
    desk.pending(2, 1.095)
    desk.wait(4 * 3600)
    desk.move((1.08, 1.0801))
    assert [position.ticket for position in desk.positions()] == [ticket]  # neither stop nor order triggers
    assert len(desk.orders()) == 1


@pytest.mark.rule("Q3")
def test_holidays_have_no_sessions() -> None:
    holiday = replace(FX_WEEK).with_holidays(MONDAY_NOON)
    desk = Desk(sessions=holiday)
    assert desk.deal().retcode == 10018
    desk.wait(DAY)
    assert desk.deal().retcode == 10009
    assert holiday.next_open(MONDAY_NOON) == MONDAY_NOON // DAY * DAY + DAY
