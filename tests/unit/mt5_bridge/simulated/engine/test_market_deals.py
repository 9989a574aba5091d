"""Market deals, closing, stops: sections K, P, Q, R, S of the behaviour notes."""

from __future__ import annotations

from typing import Any

import pytest

from mt5_bridge.simulated.engine import views


def test_k1_r1_a_market_buy_fills_at_the_ask_and_opens_a_position_with_the_order_s_ticket(desk: Any) -> None:
    result = desk.deal()
    assert (result.retcode, result.comment) == (10009, "Request executed")
    assert (result.volume, result.price, result.bid, result.ask) == (0.1, 1.1001, 1.1, 1.1001)
    (position,) = desk.positions()
    assert position.ticket == position.identifier == result.order
    assert (position.type, position.reason, position.magic, position.comment) == (0, 3, 7, "t")
    assert position.price_current == 1.1
    assert position.time == position.time_msc // 1000
    deal = desk.account.deals[-1]
    assert (deal.ticket, deal.order, deal.position_id, deal.entry) == (result.deal, result.order, result.order, 0)


def test_k1_request_ids_rise_by_one_and_the_request_is_echoed(desk: Any) -> None:
    first, second = desk.deal(), desk.deal()
    assert second.request_id == first.request_id + 1
    assert first.request.symbol == "EURUSD"
    assert first.request.sl == 0.0
    assert len(first.request) == 17


def test_r2_orders_and_deals_are_numbered_apart(desk: Any) -> None:
    first, second = desk.deal(), desk.deal()
    assert (second.order - first.order, second.deal - first.deal) == (1, 1)
    assert first.order != first.deal


def test_r5_the_filled_order_is_in_the_history_with_nothing_left(desk: Any) -> None:
    result = desk.deal()
    (order,) = desk.account.history
    assert (order.ticket, order.state, order.volume_initial, order.volume_current) == (result.order, 4, 0.1, 0.0)
    assert (order.price_open, order.price_current, order.position_id) == (0.0, 1.1001, result.order)


def test_s1_an_opposite_deal_without_position_opens_a_second_one(desk: Any) -> None:
    desk.deal(0)
    desk.deal(1)
    assert [position.type for position in desk.positions()] == [0, 1]


def test_s2_a_partial_close_keeps_ticket_price_and_stops(desk: Any) -> None:
    ticket = desk.deal(sl=1.09, tp=1.11).order
    desk.move((1.101, 1.1011))
    result = desk.deal(1, 0.04, position=ticket)
    (position,) = desk.positions()
    assert (position.ticket, position.volume, position.price_open, position.sl, position.tp) == (
        ticket,
        0.06,
        1.1001,
        1.09,
        1.11,
    )
    deal = desk.account.deals[-1]
    assert (deal.ticket, deal.entry, deal.position_id, deal.type) == (result.deal, 1, ticket, 1)
    assert result.order != ticket  # S3


def test_u1_closing_books_the_difference_of_prices(desk: Any) -> None:
    ticket = desk.deal(volume=1.0).order
    desk.move((1.1031, 1.1032))
    desk.deal(1, 1.0, position=ticket)
    assert desk.account.balance == 10_300.0
    assert desk.positions() == ()


def test_u2_yen_results_are_divided_by_the_symbol_s_own_close(desk: Any) -> None:
    ticket = desk.deal(symbol="USDJPY", volume=1.0).order
    desk.move((150.31, 150.32), symbol="USDJPY")
    desk.deal(1, 1.0, symbol="USDJPY", position=ticket)
    assert desk.account.balance == pytest.approx(10_000 + round(100_000 * 0.3 / 150.31, 2))


@pytest.mark.parametrize(
    ("fields", "retcode"),
    [
        ({"volume": 0.2}, 10038),  # L19
        ({"type": 0}, 10013),
        ({"position": 99}, 10013),  # L3
        ({"symbol": "USDJPY"}, 10013),
    ],
)
def test_closing_that_does_not_fit_the_position_is_refused(desk: Any, fields: dict[str, Any], retcode: int) -> None:
    ticket = desk.deal().order
    before = desk.facts()
    request = {"type": 1, "volume": 0.1, "position": ticket, "type_filling": 1, "action": 1} | fields
    assert desk.send(**request).retcode == retcode
    assert desk.facts() == before


def test_l19_a_position_that_is_closed_already_is_told_apart_from_one_that_never_was(desk: Any) -> None:
    ticket = desk.deal().order
    desk.deal(1, position=ticket)
    assert desk.deal(1, position=ticket).retcode == 10036


@pytest.mark.parametrize(
    ("kind", "stops", "tick", "reason", "comment", "price"),
    [
        (0, {"sl": 1.09}, (1.0895, 1.0896), 4, "[sl 1.09000]", 1.0895),
        (0, {"tp": 1.11}, (1.1102, 1.1103), 5, "[tp 1.11000]", 1.1102),
        (1, {"sl": 1.11}, (1.1104, 1.1105), 4, "[sl 1.11000]", 1.1105),
        (1, {"tp": 1.09}, (1.0897, 1.0898), 5, "[tp 1.09000]", 1.0898),
    ],
)
def test_r7_r8_stops_close_the_whole_position_at_the_market(
    desk: Any, kind: int, stops: dict[str, float], tick: tuple[float, float], reason: int, comment: str, price: float
) -> None:
    desk.deal(kind, **stops)
    desk.move((1.1, 1.1001), tick, (1.1, 1.1001))
    assert desk.positions() == ()
    deal, order = desk.account.deals[-1], desk.account.history[-1]
    assert (deal.reason, deal.comment, deal.price, deal.magic, deal.entry) == (reason, comment, price, 7, 1)
    assert (order.comment, order.reason, order.position_id) == (comment, reason, deal.position_id)
    assert deal.time_msc == desk.book.now_msc - 1000  # at the tick that reached it, not at the end of the batch


@pytest.mark.parametrize(
    ("kind", "stops", "tick"),
    [
        (0, {"tp": 1.1005}, (1.1004, 1.1006)),
        (0, {"sl": 1.09}, (1.0901, 1.0899)),  # a crossed quote
        (1, {"tp": 1.0995}, (1.0994, 1.0996)),
        (1, {"sl": 1.1105}, (1.1106, 1.1104)),
    ],
)
def test_r8_a_stop_that_only_the_other_side_of_the_spread_touches_does_not_trigger(
    desk: Any, kind: int, stops: dict[str, float], tick: tuple[float, float]
) -> None:
    desk.deal(kind, **stops)
    desk.move(tick)
    assert len(desk.positions()) == 1


def test_r8_a_sell_is_stopped_as_soon_as_the_ask_is_there(desk: Any) -> None:
    desk.deal(1, sl=1.11)
    desk.move((1.1099, 1.11))
    assert desk.account.deals[-1].reason == 4


def test_p4_l12_sltp_sets_removes_and_refuses_no_change(desk: Any) -> None:
    ticket = desk.deal().order
    done = desk.send(action=6, position=ticket, sl=1.09, tp=1.11)
    assert tuple(done)[:7] == (10009, 0, 0, 0.0, 0.0, 0.0, 0.0)  # K3
    assert desk.send(action=6, position=ticket, sl=1.09, tp=1.11).retcode == 10025
    assert desk.send(action=6, position=ticket, sl=1.2).retcode == 10016
    assert desk.send(action=6, position=ticket, sl=1.09).retcode == 10009
    assert (desk.positions()[0].sl, desk.positions()[0].tp) == (1.09, 0.0)


def test_s8_close_by_leaves_the_rest_of_the_larger_position(desk: Any) -> None:
    first, second = desk.deal(0, 0.3).order, desk.deal(1, 0.1).order
    result = desk.send(action=10, position=first, position_by=second)
    assert result.retcode == 10009
    (left,) = desk.positions()
    assert (left.ticket, left.volume) == (first, 0.2)
    order = desk.account.history[-1]
    assert (order.ticket, order.type, order.position_by_id) == (result.order, 8, second)
    assert order.comment == f"#{first} by #{second}"
    one, two = desk.account.deals[-2:]
    assert [deal.entry for deal in (one, two)] == [3, 3]
    assert [deal.volume for deal in (one, two)] == [0.1, 0.1]
    assert (one.price, two.price, two.profit) == (1.1, 1.1001, 0.0)
    assert one.profit == -1.0  # 0.1 lots of one spread


def test_s8_close_by_needs_opposite_positions_of_one_symbol(desk: Any) -> None:
    first, second = desk.deal().order, desk.deal().order
    assert desk.send(action=10, position=first, position_by=second).retcode == 10013


def test_h1_equity_is_balance_plus_floating_result(desk: Any) -> None:
    desk.deal(volume=1.0)
    info = desk.info()
    assert (info.balance, info.profit, info.equity) == (10_000.0, -10.0, 9_990.0)
    assert info.margin == 1100.1  # T1, T6
    assert info.margin_free == pytest.approx(8_889.9)
    assert info.margin_level == pytest.approx(9990 / 1100.1 * 100)


def test_h1_the_margin_level_without_margin_is_zero(desk: Any) -> None:
    assert (desk.info().margin, desk.info().margin_level) == (0.0, 0.0)


def test_t8_a_covered_pair_costs_one_leg(desk: Any) -> None:
    desk.deal(0, 1.0)
    desk.deal(1, 1.0)
    assert desk.info().margin == pytest.approx(1100.05)


def test_t4_margin_does_not_float_with_the_quote(desk: Any) -> None:
    desk.deal(volume=1.0)
    desk.move((1.2, 1.2001))
    assert desk.info().margin == 1100.1


def test_v2_stop_out_closes_the_largest_loss_first(desk_with: Any) -> None:
    desk = desk_with(balance=1_500.0)
    small, large = desk.deal(0, 0.1).order, desk.deal(0, 1.0).order
    desk.move((1.1, 1.1001), (1.0900, 1.0901), (1.0890, 1.0891), (1.0885, 1.0886))
    assert [position.ticket for position in desk.positions()] == [small]
    deal = desk.account.deals[-1]
    assert (deal.position_id, deal.reason) == (large, 6)
    assert deal.comment.startswith("[so ")
    assert deal.price == 1.089  # the first tick at or under 30 %, not the last of the batch


def test_v1_a_position_that_opened_within_a_batch_can_be_stopped_out_in_it(desk_with: Any) -> None:
    desk = desk_with(balance=1_200.0)
    desk.pending(2, 1.099, 1.0)
    desk.move((1.0988, 1.0989), (1.0900, 1.0901), (1.0890, 1.0891), (1.1, 1.1001))
    assert desk.positions() == ()
    assert [deal.reason for deal in desk.account.deals] == [0, 3, 6]


def test_w_history_is_found_by_dates_ticket_and_position(desk: Any) -> None:
    ticket = desk.deal().order
    desk.move((1.1, 1.1001))
    closing = desk.deal(1, position=ticket)
    now = desk.book.now_msc // 1000
    deals = views.history_deals(desk.account, (0, now), {})
    assert [deal.type for deal in deals] == [2, 0, 1]  # U7, W5
    assert views.history_deals(desk.account, (now, now), {}) == deals[2:]
    assert views.history_deals(desk.account, (now, 0), {}) == ()  # W10
    assert views.history_deals(desk.account, (), {"ticket": closing.deal}) == deals[2:]  # W6
    assert views.history_deals(desk.account, (), {"ticket": closing.order}) == deals[2:]
    assert views.history_deals(desk.account, (), {"position": ticket}) == deals[1:]  # W7
    assert len(views.history_deals(desk.account, (0, now), {"group": "*,!EUR*"})) == 1  # W8
    assert len(views.history_orders(desk.account, (), {"position": ticket})) == 2


def test_w1_ticket_beats_symbol_beats_group(desk: Any) -> None:
    ticket = desk.deal().order
    assert desk.positions(ticket=ticket, symbol="USDJPY", group="!*")
    assert desk.positions(symbol="EURUSD", group="!*")
    assert desk.positions(group="*USD")
    for nothing in ({"symbol": "GBPUSD"}, {"ticket": 1}, {"group": "!EUR*"}, {"group": ""}):
        assert desk.positions(**nothing) == ()
