"""Pending orders: section N, and lifetimes of section M."""

from __future__ import annotations

from typing import Any

import pytest

BUY_LIMIT, SELL_LIMIT, BUY_STOP, SELL_STOP, BUY_STOP_LIMIT, SELL_STOP_LIMIT = range(2, 8)


def test_k2_n6_a_placed_order_is_active_with_its_whole_volume(desk: Any) -> None:
    result = desk.pending(BUY_LIMIT, 1.09)
    assert (result.retcode, result.deal, result.volume, result.price) == (10009, 0, 0.1, 0.0)
    (order,) = desk.orders()
    assert (order.ticket, order.state, order.type, order.position_id, order.time_done) == (result.order, 1, 2, 0, 0)
    assert (order.volume_initial, order.volume_current, order.price_open) == (0.1, 0.1, 1.09)
    assert order.price_current == 1.1001


@pytest.mark.parametrize(
    ("kind", "price", "stoplimit"),
    [
        (BUY_LIMIT, 1.11, 0.0),
        (SELL_LIMIT, 1.09, 0.0),
        (BUY_STOP, 1.09, 0.0),
        (SELL_STOP, 1.11, 0.0),
        (BUY_STOP_LIMIT, 1.11, 1.12),
        (SELL_STOP_LIMIT, 1.09, 1.08),
        (BUY_STOP_LIMIT, 1.11, 0.0),
        (BUY_LIMIT, 0.0, 0.0),
    ],
)
def test_n1_l5_prices_on_the_wrong_side_are_refused(desk: Any, kind: int, price: float, stoplimit: float) -> None:
    assert desk.pending(kind, price, stoplimit=stoplimit).retcode == 10015
    assert desk.orders() == ()


@pytest.mark.parametrize(
    ("kind", "price", "tick", "filled"),
    [
        (BUY_LIMIT, 1.09, (1.0898, 1.0899), 1.0899),
        (SELL_LIMIT, 1.11, (1.1101, 1.1102), 1.1101),
        (BUY_STOP, 1.11, (1.1104, 1.1105), 1.1105),
        (SELL_STOP, 1.09, (1.0895, 1.0896), 1.0895),
    ],
)
def test_n2_n3_a_reached_price_fills_at_the_market(
    desk: Any, kind: int, price: float, tick: tuple[float, float], filled: float
) -> None:
    ticket = desk.pending(kind, price).order
    desk.move((1.1, 1.1001), tick, (1.1, 1.1001))
    assert desk.orders() == ()
    (position,) = desk.positions()
    assert (position.ticket, position.price_open) == (ticket, filled)
    order, deal = desk.account.history[-1], desk.account.deals[-1]
    assert (order.ticket, order.state, order.type, order.price_open) == (ticket, 4, kind, price)
    assert (deal.order, deal.entry, deal.price) == (ticket, 0, filled)


def test_n4_a_stop_limit_becomes_a_limit_with_the_same_ticket(desk: Any) -> None:
    ticket = desk.pending(BUY_STOP_LIMIT, 1.11, stoplimit=1.105).order
    desk.move((1.1105, 1.1106))
    (order,) = desk.orders()
    assert (order.ticket, order.type, order.price_open) == (ticket, BUY_LIMIT, 1.105)
    desk.move((1.1048, 1.1049))
    assert desk.positions()[0].ticket == ticket


def test_n5_no_money_at_activation_rejects_the_order(desk_with: Any) -> None:
    desk = desk_with(balance=100.0)
    ticket = desk.pending(BUY_LIMIT, 1.09, 1.0).order
    desk.move((1.0898, 1.0899))
    order = desk.account.history[-1]
    assert (order.ticket, order.state, order.volume_current) == (ticket, 5, 1.0)
    assert desk.positions() == ()
    assert len(desk.account.deals) == 1


def test_n7_modify_changes_price_and_stops_only(desk: Any) -> None:
    ticket = desk.pending(BUY_LIMIT, 1.09, sl=1.08, comment="keep", magic=5).order
    result = desk.send(action=7, order=ticket, price=1.095, tp=1.12, volume=9.0, magic=9)
    assert (result.retcode, result.order, result.deal) == (10009, ticket, 0)
    (order,) = desk.orders()
    assert (order.price_open, order.sl, order.tp) == (1.095, 0.0, 1.12)
    assert (order.volume_current, order.magic, order.comment) == (0.1, 5, "keep")
    assert desk.send(action=7, order=ticket, price=1.095, tp=1.12).retcode == 10025  # L12
    assert desk.send(action=7, order=ticket, price=1.2).retcode == 10015
    assert desk.send(action=7, order=99, price=1.095).retcode == 10013


def test_n8_remove_puts_the_order_in_the_history_as_cancelled(desk: Any) -> None:
    ticket = desk.pending(BUY_LIMIT, 1.09).order
    assert desk.send(action=8, order=ticket).retcode == 10009
    order = desk.account.history[-1]
    assert (order.ticket, order.state, order.volume_current, order.position_id) == (ticket, 2, 0.1, 0)
    assert desk.send(action=8, order=ticket).retcode == 10013


def test_n9_stops_of_a_pending_order_are_checked_against_its_price(desk: Any) -> None:
    assert desk.pending(BUY_LIMIT, 1.09, sl=1.095).retcode == 10016
    assert desk.pending(BUY_STOP, 1.12, sl=1.115).retcode == 10009


def test_m3_pending_orders_take_return_and_the_symbol_s_own_policies(desk: Any) -> None:
    assert desk.pending(BUY_LIMIT, 1.09, type_filling=2).retcode == 10009
    assert desk.pending(BUY_LIMIT, 1.09, type_filling=1).retcode == 10009
    assert desk.pending(BUY_LIMIT, 1.09, type_filling=3).retcode == 10030


def test_m6_m7_an_order_expires_at_its_second_without_a_deal(desk: Any) -> None:
    end = desk.book.now_msc // 1000 + 2
    ticket = desk.pending(BUY_LIMIT, 1.09, type_time=2, expiration=end).order
    desk.move((1.1, 1.1001))
    assert len(desk.orders()) == 1
    desk.move((1.1, 1.1001), (1.08, 1.0801))
    order = desk.account.history[-1]
    assert (order.ticket, order.state, order.time_done) == (ticket, 6, end)
    assert desk.positions() == ()


def test_m6_a_day_order_ends_with_the_day(desk: Any) -> None:
    desk.pending(BUY_LIMIT, 1.09, type_time=1)
    assert desk.orders()[0].time_expiration % 86_400 == 86_399


@pytest.mark.parametrize("fields", [{"type_time": 2}, {"type_time": 2, "expiration": 5}, {"type_time": 9}])
def test_l10_lifetimes_that_cannot_be_are_refused(desk: Any, fields: dict[str, int]) -> None:
    assert desk.pending(BUY_LIMIT, 1.09, **fields).retcode == 10022


def test_m5_the_symbol_says_which_lifetimes_it_takes(desk_with: Any) -> None:
    desk = desk_with(expiration_mode=1)
    assert desk.pending(BUY_LIMIT, 1.09, type_time=1).retcode == 10022
