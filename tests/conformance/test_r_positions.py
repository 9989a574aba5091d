"""Sections R and S: positions, orders and deals, on hedging and netting accounts."""

from __future__ import annotations

import pytest

from mt5_bridge.simulated.engine import views
from mt5_bridge.simulated.engine.reopening import split
from mt5_bridge.simulated.link import RemoteError
from mt5_bridge.simulated.market.calendar import DAY
from mt5_bridge.simulated.symbols import EXCH_STOCKS
from tests.conformance.stage import LOGIN, Stage, deal
from tests.trading_desk import Desk


@pytest.fixture
def netting() -> Desk:
    """An account with one position a symbol."""
    return Desk(account={"margin_mode": 0})


@pytest.mark.rule("R1", "R2")
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_numbers_of_an_opening(mode: int) -> None:
    desk = Desk(account={"margin_mode": mode})
    first, second = desk.deal(), desk.deal(symbol="USDJPY")
    position, deal, order = desk.positions()[0], desk.account.deals[1], desk.account.history[0]
    assert position.ticket == position.identifier == deal.order == deal.position_id == order.position_id == first.order
    assert (deal.ticket, order.ticket) == (first.deal, first.order)
    assert (second.order - first.order, second.deal - first.deal) == (1, 1)


@pytest.mark.rule("R3", "R4")
def test_entries_types_and_reasons(desk: Desk) -> None:
    ticket = desk.deal().order
    desk.deal(1, position=ticket)
    opening, closing = desk.account.deals[1:]
    assert [(one.entry, one.type, one.reason) for one in (opening, closing)] == [(0, 0, 3), (1, 1, 3)]
    desk.deal(sl=1.09)
    assert desk.positions()[0].reason == 3
    desk.move((1.08, 1.0801))
    assert (desk.last_deal.reason, desk.last_deal.type, desk.last_order.reason) == (4, 1, 4)


@pytest.mark.rule("R4")
def test_reasons_of_what_the_owner_does_elsewhere(stage: Stage) -> None:
    mt5, request = stage.mt5, {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "type_filling": 1}
    stage.admin.configure_account(LOGIN, trade_expert=False)  # robots may not, people may
    for front_end, reason in (("terminal", 0), ("mobile", 1), ("web", 2)):
        ticket = stage.admin.trade(LOGIN, front_end, **request).order
        assert mt5.positions_get(ticket=ticket)[0].reason == reason
        assert stage.admin.trade(LOGIN, front_end, **request | {"type": 1, "position": ticket}).retcode == 10009
        assert [one.reason for one in mt5.history_deals_get(position=ticket)] == [reason, reason]
        assert [one.reason for one in mt5.history_orders_get(position=ticket)] == [reason, reason]
    stage.admin.configure_account(LOGIN, trade_expert=True)
    mobile = stage.admin.trade(LOGIN, "mobile", **request).order
    mt5.order_send({"action": 1, "symbol": "EURUSD", "volume": 0.05, "type": 1, "type_filling": 1, "position": mobile})
    assert [one.reason for one in mt5.history_deals_get(position=mobile)] == [1, 3]
    assert mt5.positions_get(ticket=mobile)[0].reason == 1  # positions keep that of the opening order
    against = stage.admin.trade(LOGIN, "web", **request | {"type": 1})
    closed = stage.admin.trade(LOGIN, "web", action=10, position=mobile, position_by=against.order)
    assert [one.reason for one in mt5.history_deals_get(ticket=closed.order)] == [2]
    with pytest.raises(RemoteError):
        stage.admin.trade(999, "web", **request)


@pytest.mark.rule("R4")
@pytest.mark.parametrize("mode", [0, 2])
def test_the_reason_of_variation_margin(mode: int) -> None:
    desk = Desk(account={"margin_mode": mode}, variation_margin=True, commission=7.0, fee=1.0)
    desk.deal(0, 1.0, sl=1.05, tp=1.2)
    paid = desk.account.balance
    desk.move((1.101, 1.1011))
    desk.wait(DAY)
    out, back = desk.account.deals[-2:]
    assert [(one.reason, one.entry, one.price) for one in (out, back)] == [(8, 1, 1.101), (8, 0, 1.101)]
    assert desk.account.balance == pytest.approx(paid + 90.0)  # what it has gained, and nobody charges for it
    (position,) = desk.positions()
    assert (position.reason, position.price_open, position.volume) == (8, 1.101, 1.0)
    assert (position.sl, position.tp, position.magic) == (1.05, 1.2, 7)
    desk.wait(DAY * 3)  # to Friday noon
    deals = len(desk.account.deals)
    desk.wait(DAY * 2)  # settled at the end of Friday, not of Saturday
    assert len(desk.account.deals) == deals + 2


@pytest.mark.rule("R4")
@pytest.mark.parametrize("mode", [0, 2])
def test_the_reason_of_a_split(mode: int) -> None:
    desk = Desk(account={"margin_mode": mode}, calc_mode=EXCH_STOCKS, contract_size=1.0, digits=4, commission=7.0)
    desk.deal(0, 1.0, sl=1.05, tp=1.2)
    desk.pending(2, 1.09)
    desk.deal(0, 1.0, symbol="USDJPY")
    balance, other = desk.account.balance, desk.positions(symbol="USDJPY")
    split(desk.book, desk.spec, 2.0)
    (position,) = desk.positions(symbol="EURUSD")
    assert (position.reason, position.volume, position.price_open) == (9, 2.0, 0.55005)  # more digits than prices have
    assert (position.sl, position.tp) == (0.525, 0.6)
    assert [one.reason for one in desk.account.deals[-2:]] == [9, 9]
    assert (desk.account.balance, desk.positions(symbol="USDJPY")) == (balance, other)
    assert [one.state for one in desk.account.history if one.type == 2] == [2]
    assert desk.orders() == ()


@pytest.mark.rule("R4")
def test_a_split_reaches_every_account_and_the_disk(stage: Stage) -> None:
    mt5 = stage.mt5
    ticket = mt5.order_send(deal(mt5, symbol="ACME", volume=10.0, price=0.0)).order
    stage.admin.split("ACME", 4.0)
    (position,) = mt5.positions_get(symbol="ACME")
    assert (position.volume, position.price_open, position.reason) == (40.0, 25.005, 9)
    assert position.ticket > ticket
    before = stage.broker
    stage.admin.restart(0.1)
    stage.until(lambda: stage.broker is not before and mt5.terminal_info().connected)
    assert [one.volume for one in mt5.positions_get(symbol="ACME")] == [40.0]
    for name, ratio in (("NOSUCH", 2.0), ("ACME", 0.0), ("ACME", -1.0)):
        with pytest.raises(RemoteError):
            stage.admin.split(name, ratio)


@pytest.mark.rule("R5")
@pytest.mark.parametrize(("execution", "price_open"), [(1, 1.1001), (2, 0.0)])
def test_a_filled_market_order_in_the_history(execution: int, price_open: float) -> None:
    desk = Desk(execution=execution)
    result = desk.deal(price=1.1001)
    order = desk.last_order
    assert (order.state, order.volume_initial, order.volume_current) == (4, 0.1, 0.0)
    assert (order.position_id, order.time_setup_msc) == (result.order, order.time_done_msc)
    assert (order.price_open, order.price_current) == (price_open, 1.1001)


@pytest.mark.rule("R6")
def test_magic_and_comment(desk: Desk, netting: Desk) -> None:
    ticket = desk.deal(magic=7, comment="opened").order
    desk.deal(1, 0.04, position=ticket, magic=8, comment="part")
    assert (desk.last_deal.magic, desk.last_deal.comment) == (8, "part")
    assert (desk.last_order.magic, desk.last_order.comment) == (8, "part")
    assert (desk.positions()[0].magic, desk.positions()[0].comment) == (7, "opened")
    netting.deal(magic=7)
    netting.deal(magic=8)
    assert netting.positions()[0].magic == 8


@pytest.mark.rule("R7", "R8")
@pytest.mark.parametrize(
    ("kind", "stops", "tick", "reason", "comment", "price"),
    [
        (0, {"sl": 1.09}, (1.0895, 1.0896), 4, "[sl 1.09000]", 1.0895),
        (0, {"tp": 1.11}, (1.1102, 1.1103), 5, "[tp 1.11000]", 1.1102),
        (1, {"sl": 1.11}, (1.1104, 1.1105), 4, "[sl 1.11000]", 1.1105),
        (1, {"tp": 1.09}, (1.0897, 1.0898), 5, "[tp 1.09000]", 1.0898),
    ],
)
def test_stops_close_the_whole_position(
    kind: int, stops: dict[str, float], tick: tuple[float, float], reason: int, comment: str, price: float
) -> None:
    for mode in (0, 2):
        desk = Desk(account={"margin_mode": mode})
        desk.deal(kind, 0.3, **stops)
        desk.move(tick)
        assert desk.positions() == ()
        deal, order = desk.last_deal, desk.last_order
        assert (deal.reason, deal.comment, deal.price, deal.magic, deal.volume) == (reason, comment, price, 7, 0.3)
        assert (order.type, order.comment, order.volume_initial) == (1 - kind, comment, 0.3)


@pytest.mark.rule("R8")
def test_a_stop_that_cannot_be_executed_is_tried_again() -> None:
    desk = Desk(liquidity=1.0)
    desk.deal(0, 0.5, sl=1.09)
    desk.change(liquidity=0.2)
    desk.move((1.0899, 1.09))
    assert len(desk.positions()) == 1
    desk.change(liquidity=1.0)
    desk.move((1.0895, 1.0896))
    assert (desk.positions(), desk.last_deal.price) == ((), 1.0895)


@pytest.mark.rule("R9")
def test_on_an_exchange_the_last_deal_sets_stops_off() -> None:
    desk = Desk(calc_mode=EXCH_STOCKS, contract_size=1.0)
    desk.quote(1.1, 1.1001, 1.1)
    desk.deal(sl=1.09, tp=1.11)
    desk.move((1.0895, 1.0896, 1.0905))
    assert len(desk.positions()) == 1
    desk.move((1.0905, 1.0906, 1.09))
    assert (desk.positions(), desk.last_deal.reason, desk.last_deal.price) == ((), 4, 1.0905)


@pytest.mark.rule("R8", "R9")
@pytest.mark.parametrize(("kind", "stops", "last"), [(0, {"tp": 1.11}, 1.11), (1, {"tp": 1.09}, 1.09)])
def test_a_take_profit_is_never_filled_worse_than_its_level(kind: int, stops: dict[str, float], last: float) -> None:
    desk = Desk(calc_mode=EXCH_STOCKS, contract_size=1.0)
    desk.deal(kind, **stops)
    desk.move((1.1, 1.1001, last))  # the quotes have not followed the last deal yet
    assert (desk.positions(), desk.last_deal.price, desk.last_deal.reason) == ((), last, 5)


@pytest.mark.rule("R10")
@pytest.mark.parametrize("on_stops", [False, True])
def test_time_update_changes_with_the_volume(on_stops: bool) -> None:
    desk = Desk(conventions={"update_time_on_stops": on_stops})
    ticket = desk.deal().order
    opened = desk.positions()[0].time_update_msc
    desk.wait(10)
    desk.sltp(ticket, 1.09)
    assert (desk.positions()[0].time_update_msc > opened) is on_stops
    desk.wait(10)
    desk.deal(1, 0.05, position=ticket)
    assert desk.positions()[0].time_update_msc == opened + 20_000
    assert desk.positions()[0].time_msc == opened


@pytest.mark.rule("R11")
def test_positions_are_valued_at_the_price_they_would_close_at() -> None:
    desk = Desk(commission=7.0)
    desk.deal(0, 1.0)
    desk.deal(1, 1.0)
    buy, sell = desk.positions()
    assert (buy.price_current, sell.price_current) == (1.1, 1.1001)
    assert (buy.profit, sell.profit) == (-10.0, -10.0)  # without the commission


@pytest.mark.rule("S1")
def test_hedging_opens_a_position_for_each_deal(desk: Desk) -> None:
    for kind in (0, 0, 1):
        desk.deal(kind)
    assert [position.type for position in desk.positions()] == [0, 0, 1]


@pytest.mark.rule("S2", "S3")
def test_hedging_closes_a_part(desk: Desk) -> None:
    ticket = desk.deal(0, 0.1, sl=1.09, tp=1.12).order
    desk.account.positions[ticket].swap = -1.0
    desk.move((1.101, 1.1011))
    result = desk.deal(1, 0.04, position=ticket)
    (position,) = desk.positions()
    assert (position.ticket, position.identifier, position.volume) == (ticket, ticket, 0.06)
    assert (position.price_open, position.sl, position.tp, position.swap) == (1.1001, 1.09, 1.12, -0.6)
    deal = desk.last_deal
    assert (deal.entry, deal.position_id, deal.order, deal.swap) == (1, ticket, result.order, -0.4)
    assert result.order != ticket
    assert desk.deal(1, 0.2, position=ticket).retcode == 10038  # no reversal through `position`


@pytest.mark.rule("S4", "R6")
def test_netting_adds_at_the_mean_price(netting: Desk) -> None:
    first = netting.deal(0, 0.1, price=1.1001, sl=1.08, tp=1.2)
    netting.move((1.1004, 1.1005))
    netting.deal(0, 0.3, sl=1.09)
    (position,) = netting.positions()
    assert (position.ticket, position.identifier, position.volume) == (first.order, first.order, 0.4)
    assert position.price_open == pytest.approx((0.1 * 1.1001 + 0.3 * 1.1005) / 0.4)
    assert (position.sl, position.tp) == (1.09, 0.0)
    assert (netting.last_deal.entry, netting.last_deal.position_id) == (0, first.order)


@pytest.mark.rule("S5")
def test_netting_closes_a_part_or_all(netting: Desk) -> None:
    ticket = netting.deal(0, 0.3, sl=1.09).order
    netting.move((1.101, 1.1011))
    netting.deal(1, 0.1)
    (position,) = netting.positions()
    assert (position.volume, position.price_open, position.sl, position.ticket) == (0.2, 1.1001, 1.09, ticket)
    assert (netting.last_deal.entry, netting.last_deal.profit) == (1, 9.0)
    netting.deal(1, 0.2)
    assert (netting.positions(), netting.last_deal.entry) == ((), 1)
    assert netting.account.balance == 10_027.0


@pytest.mark.rule("S6", "R3")
def test_netting_reverses(netting: Desk) -> None:
    first = netting.deal(0, 0.1, sl=1.09).order
    netting.move((1.101, 1.1011))
    result = netting.deal(1, 0.3, sl=1.12)
    deal, (position,) = netting.last_deal, netting.positions()
    assert (deal.entry, deal.volume, deal.profit, deal.position_id) == (2, 0.3, 9.0, first)
    assert (position.type, position.volume, position.price_open) == (1, 0.2, 1.101)
    assert (position.identifier, position.ticket, position.sl) == (first, result.order, 1.12)
    assert len(netting.account.deals) == 3


@pytest.mark.rule("S7")
def test_netting_needs_no_position_in_a_request(netting: Desk) -> None:
    ticket = netting.deal(0, 0.3).order
    assert netting.deal(1, 0.1).retcode == 10009
    assert netting.deal(1, 0.1, position=ticket).retcode == 10009
    assert netting.positions()[0].volume == 0.1
    assert netting.deal(1, 0.1, position=99).retcode == 10013


@pytest.mark.rule("S8", "S9")
def test_close_by(desk: Desk) -> None:
    first, second = desk.deal(0, 0.3).order, desk.deal(1, 0.1).order
    result = desk.send(action=10, position=first, position_by=second)
    (left,) = desk.positions()
    assert (left.ticket, left.volume) == (first, 0.2)
    order = desk.last_order
    assert (order.type, order.comment) == (8, f"#{first} by #{second}")
    assert (order.position_id, order.position_by_id) == (first, second)
    one, two = desk.account.deals[-2:]
    assert [(deal.entry, deal.volume) for deal in (one, two)] == [(3, 0.1), (3, 0.1)]
    assert (one.position_id, one.price, one.profit) == (first, 1.1, -1.0)
    assert (two.position_id, two.price, two.profit) == (second, 1.1001, 0.0)
    assert [one.ticket for one in views.history_orders(desk.account, (), {"position": first})] == [first, result.order]
    assert [one.ticket for one in views.history_orders(desk.account, (), {"position": second})] == [second]


@pytest.mark.rule("S2", "S4", "S6", "U5")
@pytest.mark.parametrize("mode", [0, 2])
def test_balances_are_the_sums_of_deals(mode: int) -> None:
    desk = Desk(account={"margin_mode": mode}, commission=7.0, fee=0.5)
    for kind, volume in ((0, 0.1), (0, 0.3), (1, 0.2), (1, 0.5), (0, 0.1)):
        assert desk.deal(kind, volume).retcode == 10009
        desk.move((1.1 + volume / 100, 1.1001 + volume / 100))
    total = sum(deal.profit + deal.swap + deal.commission + deal.fee for deal in desk.account.deals)
    assert desk.account.balance == pytest.approx(total, abs=1e-6)
