"""Sections I, J and K: requests, their checks and their results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mt5_bridge.contract import STRUCTS
from tests.conformance.stage import LOGIN, Stage, deal, is_struct
from tests.trading_desk import Desk


@pytest.mark.rule("I1")
@pytest.mark.parametrize("function", ["order_check", "order_send"])
def test_a_request_is_one_dict_or_all_keywords(mt5: Any, function: str) -> None:
    call = getattr(mt5, function)
    assert call(**deal(mt5)).retcode in (0, 10009)
    assert call(deal(mt5), volume=0.1) is None
    assert mt5.last_error() == (-2, "Unnamed arguments not allowed")
    wrongs: tuple[Any, ...] = ([], 5, None)
    for wrong in wrongs:
        assert call(wrong) is None
        assert mt5.last_error() == (-2, "Invalid arguments")


@pytest.mark.rule("I2")
def test_missing_fields_are_nothing_and_all_are_echoed(mt5: Any) -> None:
    result = mt5.order_send(deal(mt5) | {"colour": "red"})
    assert is_struct(result.request, "TradeRequest", 17)
    given = deal(mt5)
    rest = {"order": 0, "stoplimit": 0.0, "sl": 0.0, "tp": 0.0, "deviation": 0, "type_time": 0, "expiration": 0}
    assert result.request._asdict() == given | rest | {"position": 0, "position_by": 0}
    numbered = {name: kind(index) for index, (name, kind) in enumerate(STRUCTS["TradeRequest"], start=99)}
    for answer in (mt5.order_send(numbered), mt5.order_check(numbered)):  # refused, and echoed
        assert answer.request._asdict() == numbered


@pytest.mark.rule("I3", "I4")
def test_fields_have_their_types(mt5: Any) -> None:
    for field, wrong in (
        ("volume", 1),
        ("volume", None),
        ("volume", "0.1"),
        ("price", np.float32(1.1)),
        ("magic", 7.0),
        ("magic", np.int64(7)),
        ("type", None),
        ("expiration", 1.5),
    ):
        assert mt5.order_send(deal(mt5, **{field: wrong})) is None
        assert mt5.last_error() == (-2, f'Invalid "{field}" argument')
    assert mt5.order_send(deal(mt5, volume=np.float64(0.1), action=True)).retcode == 10009


@pytest.mark.rule("I6")
def test_refusals_are_structs(mt5: Any) -> None:
    for request in ({}, {"action": 99}, deal(mt5, symbol="NOSUCH"), deal(mt5, volume=0.0)):
        result = mt5.order_send(request)
        assert is_struct(result, "OrderSendResult", 11)
        assert result.retcode != 10009
        assert mt5.last_error() == (1, "Success")


@pytest.mark.rule("J1", "J5")
def test_a_check_shows_the_account_after_the_trade_and_changes_nothing(mt5: Any) -> None:
    before = mt5.account_info()
    result = mt5.order_check(deal(mt5))
    assert is_struct(result, "OrderCheckResult", 9)
    assert (result.retcode, result.comment, result.balance) == (0, "Done", 10_000.0)
    assert result.margin == 110.01
    assert result.margin_free == pytest.approx(result.equity - result.margin)
    assert result.margin_level == pytest.approx(result.equity / result.margin * 100)
    assert is_struct(result.request, "TradeRequest", 17)
    assert (mt5.account_info(), mt5.positions_total()) == (before, 0)
    mt5.order_send(deal(mt5, volume=1.0))
    held = mt5.account_info()
    result = mt5.order_check(deal(mt5))
    assert (
        (result.balance, result.equity, result.profit)
        == (held.balance, held.equity, held.profit)
        == (1e4, 9990.0, -10.0)
    )
    assert result.margin == pytest.approx(held.margin + 110.01)  # the total
    first, _, second = mt5.order_send(deal(mt5)), mt5.order_check(deal(mt5)), mt5.order_send(deal(mt5))
    assert second.request_id == first.request_id + 1


@pytest.mark.rule("J2")
@pytest.mark.parametrize("mode", [0, 2])
def test_the_opposite_direction_takes_no_more_margin(mode: int) -> None:
    desk = Desk(account={"margin_mode": mode})
    desk.deal(0, 1.0)
    held = desk.info().margin
    assert desk.check(type=1, volume=1.0).margin <= held
    assert desk.check(type=1, volume=0.4).margin <= held
    ticket = desk.positions()[0].ticket
    assert desk.check(type=1, volume=0.4, position=ticket).margin == pytest.approx(0.6 * held)
    assert desk.check(type=1, volume=1.0, position=ticket).margin == 0.0
    assert desk.check(type=0, volume=1.0).margin > held


@pytest.mark.rule("J3")
def test_a_check_does_not_see_the_market(stage: Stage) -> None:
    stage.admin.add_fault("reject", times=0)
    assert stage.mt5.order_check(deal(stage.mt5)).retcode == 0
    stage.wait(6 * 86_400 - 3600)  # Sunday
    assert stage.mt5.order_check(deal(stage.mt5)).retcode == 0
    stage.admin.clear_faults()
    assert stage.mt5.order_send(deal(stage.mt5)).retcode == 10018
    instant = Desk(execution=1)
    assert instant.check(price=1.5).retcode == 0


@pytest.mark.rule("J4")
@pytest.mark.parametrize("shown", [True, False])
def test_a_refused_check_has_its_retcode(shown: bool) -> None:
    desk = Desk(conventions={"margins_of_refused_checks": shown})
    result = desk.check(volume=400.0)
    assert (result.retcode, result.comment) == (10019, "No money")
    assert result.margin == (440_040.0 if shown else 0.0)
    result = desk.check(volume=1000.0)
    assert tuple(result)[:7] == (10014, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert desk.check(action=99).retcode == 10013


@pytest.mark.rule("K1")
def test_a_deal_s_result(mt5: Any) -> None:
    first, second = mt5.order_send(deal(mt5)), mt5.order_send(deal(mt5))
    assert (first.retcode, first.comment, first.volume, first.price) == (10009, "Request executed", 0.1, 1.1001)
    assert (first.bid, first.ask, first.retcode_external) == (1.1, 1.1001, 0)
    assert first.order > 0
    assert first.deal > 0
    assert (first.request_id > 0, second.request_id - first.request_id) == (True, 1)


@pytest.mark.rule("K2", "K3")
def test_results_of_the_other_actions(desk: Desk) -> None:
    placed = desk.pending(2, 1.09)
    assert (placed.retcode, placed.deal, placed.volume, placed.price) == (10009, 0, 0.1, 0.0)
    assert (placed.order > 0, placed.comment) == (True, "Request executed")
    ticket = desk.deal().order
    done = desk.sltp(ticket, 1.09, 1.11)
    assert tuple(done)[:7] == (10009, 0, 0, 0.0, 0.0, 0.0, 0.0)
    for done in (desk.send(action=7, order=placed.order, price=1.08), desk.send(action=8, order=placed.order)):
        assert tuple(done)[:7] == (10009, 0, placed.order, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.rule("K3")
def test_results_of_modify_without_the_order() -> None:
    desk = Desk(conventions={"order_in_modify_result": False})
    order = desk.pending(2, 1.09).order
    assert desk.send(action=8, order=order).order == 0


@pytest.mark.rule("K4")
def test_a_close_by_s_result(desk: Desk) -> None:
    first, second = desk.deal(0, 0.3).order, desk.deal(1, 0.1).order
    result = desk.send(action=10, position=first, position_by=second)
    assert (result.retcode, result.order) == (10009, desk.last_order.ticket)
    assert result.deal in (0, desk.account.deals[-2].ticket)


@pytest.mark.rule("K5")
def test_refusals_carry_numbers_only_from_the_server(stage: Stage) -> None:
    mt5 = stage.mt5
    before = mt5.order_send(deal(mt5, volume=0.0))
    assert tuple(before)[1:7] == (0, 0, 0.0, 0.0, 0.0, 0.0)
    assert (before.request_id, before.retcode_external) == (0, 0)
    stage.admin.add_fault("requote")
    after = mt5.order_send(deal(mt5))
    assert (after.retcode, after.bid, after.ask) == (10004, 1.1, 1.1001)
    assert after.request_id > 0
    assert mt5.positions_total() == 0


@pytest.mark.rule("K6")
def test_immediate_or_cancel_fills_what_there_is() -> None:
    desk = Desk(liquidity=0.3)
    result = desk.deal(0, 1.0)
    assert (result.retcode, result.volume, result.comment) == (10010, 0.3, "Request executed partially")
    assert desk.positions()[0].volume == 0.3
    assert desk.orders() == ()
    assert (desk.last_order.volume_initial, desk.last_order.volume_current) == (1.0, 0.7)


@pytest.mark.rule("K7")
def test_positions_and_deals_are_there_at_once(mt5: Any) -> None:
    result = mt5.order_send(deal(mt5))
    assert mt5.positions_get(ticket=result.order)[0].ticket == result.order
    assert mt5.history_deals_get(ticket=result.deal)[0].ticket == result.deal
    assert mt5.history_orders_get(ticket=result.order)[0].state == 4
    assert mt5.account_info().login == LOGIN
