"""Section L: return codes. Each refusal leaves the books as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mt5_bridge.contract import RETCODE_COMMENTS, RETCODES
from mt5_bridge.simulated.engine.conventions import OPENING_CHECKS
from mt5_bridge.simulated.engine.retcodes import Retcode
from mt5_bridge.simulated.faults import INJECTED_ONLY
from tests.conformance.stage import Stage, deal
from tests.trading_desk import MONDAY_NOON, Desk

SATURDAY = MONDAY_NOON + 5 * 86_400


def refused(desk: Desk, retcode: int, **fields: Any) -> None:
    before = desk.facts()
    base = {"action": 1, "type": 0, "volume": 0.1, "type_filling": 1}
    result = desk.send(**(base | fields))
    assert (result.retcode, result.deal, result.order) == (retcode, 0, 0), result
    assert desk.facts() == before


@pytest.mark.rule("L1", "Q1", "Q2")
def test_10004_instant_execution_asks_for_the_price_within_the_deviation() -> None:
    desk = Desk(execution=1)
    refused(desk, 10004, price=1.0999, deviation=19)
    result = desk.deal(price=1.0999, deviation=19)
    assert (result.bid, result.ask) == (1.1, 1.1001)
    assert desk.deal(price=1.0999, deviation=20).price == 1.0999
    assert desk.deal(price=1.1001).price == 1.1001
    refused(desk, 10004, price=1.1000)  # no deviation: the exact price
    request = Desk(execution=0)
    refused(request, 10004, price=1.0999, deviation=19)
    assert request.deal(1, price=1.1002, deviation=20).price == 1.1002
    market = Desk(execution=2)
    assert market.deal(price=9.9).price == 1.1001
    assert market.deal(1).price == 1.1


@pytest.mark.rule("L2", "L9", "L11")
@pytest.mark.parametrize("code", [10006, *sorted(INJECTED_ONLY)])
def test_codes_that_only_a_fault_brings(stage: Stage, code: int) -> None:
    stage.admin.add_fault("reject", retcode=int(code))
    result = stage.mt5.order_send(deal(stage.mt5))
    assert (result.retcode, result.deal, result.order) == (code, 0, 0)
    assert stage.mt5.positions_total() == 0
    assert stage.mt5.order_send(deal(stage.mt5)).retcode == 10009


@pytest.mark.rule("L3")
def test_10013_what_is_unknown(desk: Desk) -> None:
    for fields in (
        {"action": 0},
        {"action": 99},
        {"symbol": ""},
        {"symbol": "NOSUCH"},
        {"position": 99},
        {"action": 6, "position": 99},
        {"action": 7, "order": 99},
        {"action": 8, "order": 99},
        {"action": 10, "position": 98, "position_by": 99},
    ):
        refused(desk, 10013, **fields)
    netting = Desk(account={"margin_mode": 0})
    ticket = netting.deal().order
    refused(netting, 10013, action=10, position=ticket, position_by=ticket)


@pytest.mark.rule("L4", "O1")
def test_10014_volumes(desk: Desk) -> None:
    for volume in (0.015, 0.0, 501.0, -0.1):
        refused(desk, 10014, volume=volume)
    coarse = Desk(volume_min=0.1, volume_step=0.01)
    refused(coarse, 10014, volume=0.05)
    ticket = coarse.deal(volume=0.15).order
    refused(coarse, 10014, type=1, volume=0.005, position=ticket)
    assert coarse.deal(1, 0.05, position=ticket).retcode == 10009  # closing may go below the smallest
    assert coarse.positions()[0].volume == 0.1


@pytest.mark.rule("L5", "N1")
def test_10015_prices() -> None:
    refused(Desk(execution=1), 10015, price=0.0)
    refused(Desk(execution=0), 10015, price=0.0)
    desk = Desk(stops_level=10)
    for kind, price in ((2, 1.10001), (3, 1.10009), (4, 1.10019), (5, 1.09991)):
        refused(desk, 10015, action=5, type=kind, price=price, type_filling=2)
    refused(desk, 10015, action=5, type=2, price=0.0, type_filling=2)


@pytest.mark.rule("L6", "P1")
def test_10016_stops() -> None:
    desk = Desk(stops_level=10)
    for fields in ({"sl": 1.1}, {"sl": 1.09991}, {"tp": 1.10009}, {"tp": 1.09}, {"type": 1, "sl": 1.09}):
        refused(desk, 10016, **fields)
    for fields in ({"sl": 1.0999}, {"tp": 1.1001}, {"type": 1, "sl": 1.1002, "tp": 1.1}):
        assert desk.send(**({"action": 1, "type": 0, "volume": 0.1, "type_filling": 1} | fields)).retcode == 10009
    free = Desk()
    refused(free, 10016, sl=1.1001)  # without a level the side still counts
    assert free.deal(sl=1.09999).retcode == 10009


@pytest.mark.rule("L7", "Q3")
def test_10017_and_10018_symbols_that_do_not_trade() -> None:
    desk = Desk(trade_mode=0)
    refused(desk, 10017)
    closed = Desk(start=SATURDAY)
    refused(closed, 10018)
    assert closed.deal().comment == "Market closed"
    refused(closed, 10018, action=5, type=2, price=1.09, type_filling=2)
    tolerant = Desk(start=SATURDAY, conventions={"pending_outside_session": True})
    assert tolerant.pending(2, 1.09).retcode == 10009


@pytest.mark.rule("L8")
def test_10019_money(desk: Desk) -> None:
    refused(desk, 10019, volume=9.1)
    assert desk.deal(volume=9.1).comment == "No money"
    assert desk.deal(volume=9.0).retcode == 10009


@pytest.mark.rule("L9")
def test_10021_no_quote(stage: Stage) -> None:
    stage.take_quote("EURUSD")
    result = stage.mt5.order_send(deal(stage.mt5))
    assert (result.retcode, result.comment) == (10021, "No prices")


@pytest.mark.rule("L10", "M5")
def test_10022_lifetimes(desk: Desk) -> None:
    now = desk.book.now_msc // 1000
    pending = {"action": 5, "type": 2, "price": 1.09, "type_filling": 2}
    refused(desk, 10022, **pending, type_time=2, expiration=now)
    refused(desk, 10022, **pending, type_time=2)
    refused(desk, 10022, **pending, type_time=3)
    refused(desk, 10022, **pending, type_time=3, expiration=now - 86_400)
    refused(desk, 10022, **pending, type_time=4)
    for bit in range(4):
        one = Desk(expiration_mode=1 << bit)
        codes = [one.pending(2, 1.09, type_time=time, expiration=now + 3600).retcode for time in range(4)]
        assert codes == [10009 if time == bit else 10022 for time in range(4)]


@pytest.mark.rule("L12")
def test_10025_nothing_changes(desk: Desk) -> None:
    ticket = desk.deal(sl=1.09).order
    order = desk.pending(2, 1.09, sl=1.08).order
    refused(desk, 10025, action=6, position=ticket, sl=1.09)
    refused(desk, 10025, action=7, order=order, price=1.09, sl=1.08)


@pytest.mark.rule("L14", "P3")
def test_10029_the_freeze_zone() -> None:
    desk = Desk()
    ticket = desk.deal(sl=1.09980, tp=1.11).order
    order = desk.pending(2, 1.09990).order
    desk.change(freeze_level=25)
    refused(desk, 10029, action=6, position=ticket, sl=1.09)
    refused(desk, 10029, type=1, position=ticket)
    refused(desk, 10029, action=7, order=order, price=1.09)
    refused(desk, 10029, action=8, order=order)
    desk.change(freeze_level=10)
    assert desk.send(action=8, order=order).retcode == 10009
    assert desk.sltp(ticket, 1.09).retcode == 10009


@pytest.mark.rule("L15")
def test_10030_filling(desk: Desk) -> None:
    refused(desk, 10030, type_filling=2)
    assert desk.deal(type_filling=2).comment == "Unsupported filling mode"


@pytest.mark.rule("L17", "O3")
def test_10033_and_10034_limits_of_orders_and_volume() -> None:
    desk = Desk(account={"limit_orders": 1}, volume_limit=0.5)
    assert desk.pending(2, 1.09, 0.2).retcode == 10009
    refused(desk, 10033, action=5, type=2, price=1.08, type_filling=2)
    assert desk.deal(0, 0.3).retcode == 10009
    refused(desk, 10034, volume=0.01)
    assert desk.deal(1, 0.5).retcode == 10009  # the other direction counts by itself
    refused(desk, 10034, type=1, volume=0.01)


@pytest.mark.rule("L17", "O3")
def test_10034_an_opposite_pending_order_is_limited_by_itself() -> None:
    desk = Desk(account={"margin_mode": 0}, volume_limit=0.5)
    assert desk.deal(0, 0.5).retcode == 10009
    refused(desk, 10034, action=5, type=3, price=1.2, volume=0.51, type_filling=2)
    assert desk.deal(1, 1.0).retcode == 10009  # turns 0.5 long into 0.5 short
    refused(desk, 10034, type=1, volume=0.01)
    assert desk.pending(2, 1.09, 0.5).retcode == 10009


@pytest.mark.rule("L18")
def test_10035_order_kinds(desk: Desk) -> None:
    refused(desk, 10035, type=2)
    refused(desk, 10035, type=8)
    refused(desk, 10035, action=5, type=0, price=1.09)
    for bit, kinds in ((1, (0, 1)), (2, (2, 3)), (4, (4, 5)), (8, (6, 7))):
        without = Desk(order_mode=127 & ~bit)
        for kind in kinds:
            refused(without, 10035, action=1 if kind < 2 else 5, type=kind, price=1.09)
    stops = Desk(order_mode=1)
    refused(stops, 10035, sl=1.09)
    refused(stops, 10035, tp=1.11)
    both = Desk(order_mode=127 & ~64)
    first, second = both.deal().order, both.deal(1).order
    refused(both, 10035, action=10, position=first, position_by=second)


@pytest.mark.rule("L19")
def test_10036_and_10038_positions_to_close(desk: Desk) -> None:
    ticket = desk.deal().order
    refused(desk, 10038, type=1, volume=0.11, position=ticket)
    desk.deal(1, position=ticket)
    refused(desk, 10036, type=1, position=ticket)


@pytest.mark.rule("L19", "M4")
def test_10039_another_order_closes_the_position_already() -> None:
    desk = Desk(execution=3, filling_mode=7, liquidity=1.0)
    ticket = desk.deal(0, 1.0).order
    desk.change(liquidity=0.4)
    desk.move((1.1, 1.1001))
    closing = desk.deal(1, 0.8, position=ticket, type_filling=2)
    assert (closing.retcode, closing.volume) == (10010, 0.4)
    refused(desk, 10039, type=1, volume=0.3, position=ticket)
    assert desk.orders()[0].position_id == ticket
    desk.move((1.1, 1.1001), (1.1, 1.1001))
    assert desk.positions()[0].volume == 0.2
    assert desk.orders() == ()


@pytest.mark.rule("L20")
def test_10040_count_of_positions() -> None:
    hedging = Desk(account={"limit_positions": 2})
    hedging.deal()
    hedging.pending(2, 1.09)
    refused(hedging, 10040)
    netting = Desk(account={"limit_positions": 1, "margin_mode": 0})
    netting.deal()
    assert netting.deal().retcode == 10009
    refused(netting, 10040, symbol="USDJPY")


@pytest.mark.rule("L21")
def test_10042_to_10044_directions() -> None:
    refused(Desk(trade_mode=1), 10042, type=1)
    refused(Desk(trade_mode=2), 10043)
    for mode in (0, 2):
        desk = Desk(account={"margin_mode": mode})
        ticket = desk.deal().order
        desk.change(trade_mode=3)
        refused(desk, 10044)
        refused(desk, 10044, action=5, type=2, price=1.09, type_filling=2)
        assert desk.deal(1, position=ticket).retcode == 10009  # closing stays allowed


@pytest.mark.rule("L21")
def test_10041_an_order_that_is_reached_at_once_and_cannot_be_filled_is_gone() -> None:
    # An exchange takes a limit order at any price, and activates it at once when the market is there already.
    desk = Desk(execution=3, filling_mode=7)
    result = desk.pending(2, 1.2, 500.0)
    assert (result.retcode, result.deal, result.order) == (10041, 0, desk.last_order.ticket)
    assert (desk.last_order.state, desk.orders(), desk.positions()) == (5, (), ())
    resting = desk.pending(2, 1.05, 500.0)
    assert resting.retcode == 10009  # not reached yet
    moved = desk.send(action=7, order=resting.order, price=1.2)
    assert (moved.retcode, desk.last_order.ticket, desk.last_order.state) == (10041, resting.order, 5)


@pytest.mark.rule("L16")
def test_10032_what_only_accounts_with_real_money_may_trade() -> None:
    for trade_mode in (0, 1):
        desk = Desk(account={"trade_mode": trade_mode})
        ticket = desk.deal().order
        desk.change(live_only=True)
        refused(desk, 10032)
        refused(desk, 10032, action=5, type=2, price=1.09, type_filling=2)
        assert desk.check().retcode == 10032
        assert desk.deal(1, position=ticket).retcode == 10009  # out of it everybody may
    assert Desk(account={"trade_mode": 2}, live_only=True).deal().retcode == 10009


@pytest.mark.rule("L22")
def test_10045_and_10046_fifo_and_no_hedging() -> None:
    desk = Desk(account={"fifo_close": True})
    first, second = desk.deal().order, desk.deal().order
    refused(desk, 10045, type=1, position=second)
    assert desk.deal(1, position=first).retcode == 10009
    assert desk.deal(1, position=second).retcode == 10009
    strict = Desk(account={"hedge_prohibited": True})
    ticket = strict.deal().order
    refused(strict, 10046, type=1)
    refused(strict, 10046, action=5, type=3, price=1.11, type_filling=2)
    assert strict.deal(1, position=ticket).retcode == 10009
    strict.pending(2, 1.09)
    refused(strict, 10046, type=1)


@pytest.mark.rule("L23")
def test_the_order_of_checks_is_a_convention() -> None:
    wrong_in_two_ways = {"volume": 0.015, "type_filling": 2}
    refused(Desk(), 10030, **wrong_in_two_ways)
    swapped = list(OPENING_CHECKS)
    first, second = swapped.index("filling"), swapped.index("volume")
    swapped[first], swapped[second] = swapped[second], swapped[first]
    refused(Desk(conventions={"opening_checks": tuple(swapped)}), 10014, **wrong_in_two_ways)
    robots = Desk(account={"trade_expert": False, "trade_allowed": False})
    refused(robots, 10026, symbol="NOSUCH")


@pytest.mark.rule("L24")
def test_comments_and_numbers_of_codes() -> None:
    numbers = set(RETCODES)
    assert {int(code) for code in Retcode} - {0} == numbers
    assert not numbers & {10005, 10037}
    for code, text in RETCODE_COMMENTS.items():
        assert Retcode(code).comment == text
    assert all(code.comment for code in Retcode)


@pytest.mark.rule("B17", "L16")
def test_10031_comes_before_everything_else(stages: Callable[..., Stage]) -> None:
    stage = stages()
    stage.admin.disconnect(5001, seconds=60.0)
    stage.until(lambda: not stage.mt5.terminal_info().connected)
    assert stage.mt5.order_send({"action": 99}).retcode == 10031
