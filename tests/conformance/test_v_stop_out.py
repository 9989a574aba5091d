"""Section V: margin call and stop out."""

from __future__ import annotations

import pytest

from mt5_bridge.simulated.engine.model import Quote
from tests.conformance.stage import LOGIN
from tests.trading_desk import Desk


@pytest.mark.rule("V1")
def test_a_margin_call_is_a_flag_and_a_stop_out_closes() -> None:
    desk = Desk(1100.0, account={"margin_so_call": 50.0, "margin_so_so": 20.0})
    desk.deal(0, 0.9)
    desk.move((1.0930, 1.0931))
    assert 20 < desk.info().margin_level <= 50
    assert desk.exchange.is_margin_call(LOGIN)
    assert len(desk.positions()) == 1
    assert desk.pending(2, 1.05, 0.01).retcode == 10009  # trading goes on
    desk.move((1.0890, 1.0891))
    assert desk.positions() == ()


@pytest.mark.rule("V1")
@pytest.mark.parametrize(("at_equal", "left"), [(True, 0), (False, 1)])
def test_the_stop_out_is_at_the_level_or_only_under_it(at_equal: bool, left: int) -> None:
    # Money mode: equity is 100.00 exactly after a fall of 90 points on one lot.
    desk = Desk(
        1200.0,
        account={"margin_so_mode": 1, "margin_so_call": 500.0, "margin_so_so": 290.0},
        conventions={"stop_out_at_equal": at_equal},
    )
    desk.deal(0, 1.0)
    desk.move((1.0910, 1.0911))
    assert len(desk.positions()) == left
    if not left:
        assert desk.last_deal.comment == "[so 290.00]"


@pytest.mark.rule("V2")
def test_a_stop_out_drops_reserving_orders_before_it_closes_positions() -> None:
    desk = Desk(3000.0, margin_rate_pending=1.0, account={"margin_so_so": 50.0})
    desk.deal(0, 1.0)
    small, large = desk.pending(2, 1.0, 0.2).order, desk.pending(2, 1.0, 1.0).order
    desk.move((1.0893, 1.0894))  # equity 1920, margin 1100 + 200 + 1000: 83 %
    assert len(desk.orders()) == 2
    desk.move((1.0809, 1.0810))  # equity 1080: 47 %
    assert [order.ticket for order in desk.orders()] == [small]
    assert (desk.last_order.ticket, desk.last_order.state) == (large, 2)
    assert len(desk.positions()) == 1


@pytest.mark.rule("V2", "V5")
def test_a_stop_out_closes_the_largest_loss_until_the_level_is_fine() -> None:
    desk = Desk(1500.0)
    small, large = desk.deal(0, 0.1).order, desk.deal(0, 1.0).order
    free = desk.pending(2, 1.0, 0.1).order
    desk.move((1.0890, 1.0891))
    assert [position.ticket for position in desk.positions()] == [small]
    assert [order.ticket for order in desk.orders()] == [free]  # orders without margin stay
    deal = desk.last_deal
    assert (deal.position_id, deal.reason, deal.entry) == (large, 6, 1)
    assert deal.comment.startswith("[so ")
    assert deal.comment.endswith("%]")


@pytest.mark.rule("V2")
def test_symbols_that_do_not_trade_are_skipped() -> None:
    desk = Desk(1500.0)
    desk.deal(0, 1.0)
    other = desk.deal(0, 0.1, symbol="USDJPY").order
    desk.change(trade_mode=0)
    desk.move((1.0860, 1.0861))
    assert [position.symbol for position in desk.positions()] == ["EURUSD"]
    assert desk.last_deal.position_id == other


@pytest.mark.rule("V3")
def test_under_fifo_the_oldest_losing_position_goes_first() -> None:
    for fifo, first in ((True, 0), (False, 1)):
        desk = Desk(1500.0, account={"fifo_close": fifo})
        tickets = [desk.deal(0, 0.2).order, desk.deal(0, 0.9).order]
        desk.move((1.0885, 1.0886))
        stopped = [deal.position_id for deal in desk.account.deals if deal.reason == 6]
        assert stopped[0] == tickets[first]


@pytest.mark.rule("V3")
def test_of_the_oldest_losing_positions_the_largest_loss_goes_first() -> None:
    for fifo in (True, False):
        desk = Desk(3000.0, account={"fifo_close": fifo, "margin_so_so": 100.0})
        old_yen, old_euro = desk.deal(0, 0.5, symbol="USDJPY").order, desk.deal(0, 0.1).order
        desk.deal(1, 0.01)  # gains: the oldest that loses is meant, not the oldest
        large_euro = desk.deal(0, 0.9).order
        desk.exchange.set_quote("USDJPY", Quote(149.7, 149.71, desk.book.now_msc))
        desk.move((1.0840, 1.0841))
        stopped = [deal.position_id for deal in desk.account.deals if deal.reason == 6]
        # The largest loss of all is the new euro's; of the oldest of each symbol it is the old euro's.
        assert stopped[:1] == ([old_euro] if fifo else [large_euro])
        assert old_yen not in stopped[:1]


@pytest.mark.rule("V4")
@pytest.mark.parametrize(("wanted", "left"), [(False, 2), (True, 0)])
def test_a_hedged_account_without_margin(wanted: bool, left: int) -> None:
    desk = Desk(1200.0, margin_hedged=0.0, conventions={"stop_out_of_hedged": wanted})
    desk.deal(0, 1.0)
    desk.deal(1, 1.0)
    desk.move((1.0900, 1.1100))  # a wide spread
    assert len(desk.positions()) == left


@pytest.mark.rule("V6")
@pytest.mark.parametrize("wanted", [False, True])
def test_a_negative_balance_may_be_made_up(wanted: bool) -> None:
    desk = Desk(1200.0, conventions={"compensate_negative_balance": wanted})
    desk.deal(0, 1.0)
    desk.move((1.0800, 1.0801))
    assert desk.positions() == ()
    assert desk.account.balance == (0.0 if wanted else -810.0)
    assert (desk.last_deal.type == 2) is wanted
