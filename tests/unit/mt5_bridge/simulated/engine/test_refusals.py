"""Refusals: section L, and order_check of section J. Each leaves everything as it was."""

from __future__ import annotations

from typing import Any

import pytest

OPEN = {"action": 1, "volume": 0.1, "type_filling": 1}


@pytest.mark.parametrize(
    ("symbol", "fields", "retcode"),
    [
        ({}, {"action": 99}, 10013),  # L3
        ({}, {"symbol": "NOPE"}, 10013),
        ({}, {"symbol": ""}, 10013),
        ({}, {"volume": 0.015}, 10014),  # L4
        ({}, {"volume": 0.0}, 10014),
        ({}, {"volume": 501.0}, 10014),
        ({}, {"sl": 1.2}, 10016),  # L6
        ({}, {"tp": 1.05}, 10016),
        ({"stops_level": 50}, {"sl": 1.0997}, 10016),  # P1
        ({"trade_mode": 0}, {}, 10017),  # L7
        ({}, {"volume": 100.0}, 10019),  # L8
        ({}, {"type_filling": 2}, 10030),  # L15, M2
        ({"filling_mode": 2}, {"type_filling": 0}, 10030),
        ({"volume_limit": 0.05}, {}, 10034),  # L17, O3
        ({}, {"type": 2}, 10035),  # L18
        ({}, {"type": 8}, 10035),
        ({"order_mode": 126}, {}, 10035),
        ({"trade_mode": 1}, {"type": 1}, 10042),  # L21
        ({"trade_mode": 2}, {}, 10043),
        ({"trade_mode": 3}, {}, 10044),
        ({"execution": 1}, {"price": 0.0}, 10015),  # L5
        ({"execution": 1}, {"price": 1.1003, "deviation": 5}, 10004),  # L1
    ],
)
def test_a_deal_is_refused_with_nothing_changed(
    desk_with: Any, symbol: dict[str, Any], fields: dict[str, Any], retcode: int
) -> None:
    desk = desk_with(**symbol)
    before = desk.facts()
    result = desk.send(**(OPEN | fields))
    assert result.retcode == retcode
    assert desk.facts() == before
    if retcode != 10004:
        assert tuple(result)[1:7] == (0, 0, 0.0, 0.0, 0.0, 0.0)  # K5
        assert result.request_id == 0


def test_l1_a_requote_carries_the_new_prices(desk_with: Any) -> None:
    result = desk_with(execution=1).send(**OPEN, price=1.1003, deviation=5)
    assert (result.bid, result.ask) == (1.1, 1.1001)
    assert result.request_id > 0


def test_q2_instant_execution_within_the_deviation_fills(desk_with: Any) -> None:
    assert desk_with(execution=1).send(**OPEN, price=1.1001, deviation=0).retcode == 10009


def test_l4_closing_may_go_below_the_smallest_volume(desk_with: Any) -> None:
    desk = desk_with(volume_min=0.05)
    ticket = desk.deal().order
    assert desk.deal(1, 0.01, position=ticket).retcode == 10009


def test_l7_l13_accounts_that_may_not_trade(desk: Any) -> None:
    desk.account.trade_expert = False
    assert desk.deal().retcode == 10026
    desk.account.trade_expert, desk.account.trade_allowed = True, False
    assert desk.deal().retcode == 10017


def test_l7_outside_the_session_nothing_is_traded_but_order_check_does_not_see_it(desk: Any) -> None:
    desk.book.now_msc += 5 * 86_400_000  # Saturday
    result = desk.deal()
    assert (result.retcode, result.comment) == (10018, "Market closed")
    assert desk.check().retcode == 0  # J3


def test_q3_stops_do_not_trigger_outside_the_session(desk: Any) -> None:
    desk.deal(sl=1.09)
    desk.book.halted = True
    desk.move((1.08, 1.0801))
    assert len(desk.positions()) == 1


def test_l9_no_quote_is_no_price(desk: Any) -> None:
    del desk.book.quotes["EURUSD"]
    assert desk.deal().retcode == 10021


def test_l14_nothing_is_changed_inside_the_freeze_level(desk_with: Any) -> None:
    desk = desk_with(freeze_level=20)
    ticket = desk.deal(sl=1.0999).order
    assert desk.send(action=6, position=ticket, sl=1.09).retcode == 10029
    assert desk.deal(1, position=ticket).retcode == 10029


def test_l17_l20_counts_of_orders_and_positions(desk: Any) -> None:
    desk.account.limit_orders = 1
    desk.pending(2, 1.09)
    assert desk.pending(2, 1.09).retcode == 10033
    desk.account.limit_positions = 1
    assert desk.deal().retcode == 10040


def test_j1_an_accepted_check_gives_the_account_after_the_trade(desk: Any) -> None:
    before = desk.facts()
    check = desk.check(volume=1.0)
    assert (check.retcode, check.comment, check.margin) == (0, "Done", 1100.1)
    assert check.margin_free == pytest.approx(check.equity - check.margin)
    assert desk.facts() == before  # J5


def test_j2_the_opposite_direction_needs_no_more_margin(desk: Any) -> None:
    desk.deal(volume=1.0)
    assert desk.check(volume=1.0, type=1).margin <= desk.info().margin


def test_j4_a_check_that_lacks_money_shows_the_margin(desk: Any) -> None:
    check = desk.check(volume=400.0)
    assert (check.retcode, check.comment) == (10019, "No money")
    assert check.margin == pytest.approx(440_040.0)
    assert desk.check(volume=1000.0).retcode == 10014
    assert desk.check(action=99).retcode == 10013
