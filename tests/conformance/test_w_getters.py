"""Section W: getters and history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.stage import Stage, deal, is_struct

EVER = 2**31 - 1


@pytest.fixture
def busy(stage: Stage) -> Any:
    """Two positions and two orders of two symbols."""
    mt5 = stage.mt5
    for symbol in ("EURUSD", "GBPUSD"):
        assert mt5.order_send(deal(mt5, symbol=symbol)).retcode == 10009
        order = {"action": 5, "symbol": symbol, "volume": 0.1, "type": 2, "price": 1.0, "type_filling": 2}
        assert mt5.order_send(order).retcode == 10009
    return mt5


@pytest.mark.rule("W1", "W2", "W3")
@pytest.mark.parametrize(("function", "name", "fields"), [
    ("positions_get", "TradePosition", 19), ("orders_get", "TradeOrder", 24),
])  # fmt: skip
def test_open_business_is_filtered(busy: Any, function: str, name: str, fields: int) -> None:
    get = getattr(busy, function)
    everything = get()
    assert all(is_struct(one, name, fields) for one in everything)
    tickets = [one.ticket for one in everything]
    assert (len(tickets), tickets) == (2, sorted(tickets))
    euro, pound = everything
    assert get(symbol="EURUSD") == get(ticket=euro.ticket) == get(group="EUR*") == (euro,)
    assert get(ticket=pound.ticket, symbol="EURUSD", group="!*") == (pound,)  # ticket beats symbol beats group
    assert get(symbol="EURUSD", group="GBP*") == (euro,)
    for nothing in ({"symbol": "USDJPY"}, {"symbol": "NOSUCH"}, {"ticket": 1}, {"group": "!EUR*"}, {"group": ""}):
        assert get(**nothing) == ()
        assert busy.last_error() == (1, "Success")
    assert get("EURUSD") is None
    assert busy.last_error()[0] == -2
    assert get(ticket="1") is None
    assert busy.last_error() == (-2, 'Invalid "ticket" argument')


@pytest.mark.rule("W4")
@pytest.mark.parametrize("function", ["history_orders_get", "history_deals_get"])
def test_history_needs_dates_a_ticket_or_a_position(busy: Any, function: str) -> None:
    get = getattr(busy, function)
    position = busy.positions_get()[0].ticket
    for wrong in ({}, {"group": "*"}, {"date_from": 0, "date_to": EVER}):
        assert get(**wrong) is None
        assert busy.last_error() == (-2, "Invalid arguments")
    assert get(0) is None
    assert get(0, EVER, ticket=1, position=1) == get(0, EVER)  # with dates these two do not count
    assert get(ticket=1, position=position) == ()  # ticket beats position
    assert len(get(position=position)) == 1


@pytest.mark.rule("W5", "W9")
def test_history_by_dates(stage: Stage) -> None:
    mt5 = stage.mt5
    first = mt5.order_send(deal(mt5))
    opened = stage.now
    pending = {"action": 5, "symbol": "EURUSD", "volume": 0.1, "type": 2, "price": 1.0, "type_filling": 2}
    order = mt5.order_send(pending).order
    stage.wait(100)
    mt5.order_send(deal(mt5, type=1, position=first.order))
    closed = stage.now
    assert [one.entry for one in mt5.history_deals_get(opened, closed)][-2:] == [0, 1]
    assert [one.entry for one in mt5.history_deals_get(opened + 1, closed)] == [1]
    assert mt5.history_deals_get(opened + 1, closed - 1) == ()
    orders = mt5.history_orders_get(0, EVER)
    assert [one.time_done for one in orders] == [opened, closed]
    assert order not in [one.ticket for one in orders]  # it is still active
    stage.wait(100)
    mt5.order_send({"action": 8, "order": order})
    (removed,) = mt5.history_orders_get(stage.now, stage.now)  # by the time it was done, not placed
    assert (removed.ticket, removed.state) == (order, 2)
    assert mt5.history_deals_total(opened, closed) == len(mt5.history_deals_get(opened, closed))
    assert mt5.history_orders_total(0, EVER) == 3
    assert mt5.history_orders_total(1, 2) == mt5.history_deals_total(1, 2) == 0
    assert mt5.last_error() == (1, "Success")
    assert mt5.history_deals_total(0) is None
    assert mt5.last_error()[0] == -2
    with pytest.raises(TypeError):
        mt5.history_deals_total(date_from=0, date_to=1)
    assert (mt5.positions_total(), mt5.orders_total()) == (0, 0)


@pytest.mark.rule("W5")
def test_both_ends_are_whole_seconds_that_count(stage: Stage) -> None:
    mt5 = stage.mt5
    stage.wait(2.75)
    order = mt5.order_send(deal(mt5)).order
    second = stage.now
    assert stage.broker.book.now_msc == second * 1000 + 750
    for get in (mt5.history_deals_get, mt5.history_orders_get):
        assert [one.position_id for one in get(second, second)] == [order]
        assert get(second + 1, second + 9) == get(second - 1, second - 1) == ()


@pytest.mark.rule("W6", "W7")
def test_history_by_ticket_and_position(stage: Stage) -> None:
    mt5 = stage.mt5
    first = mt5.order_send(deal(mt5))
    balance = mt5.account_info().balance
    stage.tick(1.102, 1.1021)
    second = mt5.order_send(deal(mt5, type=1, position=first.order))
    assert [one.ticket for one in mt5.history_deals_get(ticket=second.deal)] == [second.deal]
    assert [one.ticket for one in mt5.history_deals_get(ticket=second.order)] == [second.deal]
    assert [one.ticket for one in mt5.history_orders_get(ticket=first.order)] == [first.order]
    assert mt5.history_orders_get(ticket=1) == ()
    assert mt5.last_error() == (1, "Success")
    deals = mt5.history_deals_get(position=first.order)
    assert [(one.ticket, one.entry) for one in deals] == [(first.deal, 0), (second.deal, 1)]
    orders = mt5.history_orders_get(position=first.order)
    assert [one.ticket for one in orders] == [first.order, second.order] == [one.order for one in deals]
    change = sum(one.profit + one.swap + one.commission + one.fee for one in deals)
    assert mt5.account_info().balance == pytest.approx(balance + change)


@pytest.mark.rule("W8")
def test_groups_of_history_are_of_symbols(busy: Any) -> None:
    symbols = [one.symbol for one in busy.history_deals_get(0, EVER, group="*")]
    assert symbols == ["", "EURUSD", "GBPUSD"]
    assert [one.symbol for one in busy.history_deals_get(0, EVER, group="*,!*EUR*")] == ["", "GBPUSD"]
    assert [one.symbol for one in busy.history_orders_get(0, EVER, group="EUR*")] == ["EURUSD"]


@pytest.mark.rule("W9")
def test_counts(busy: Any) -> None:
    assert (busy.positions_total(), busy.orders_total()) == (2, 2)
    assert type(busy.positions_total()) is int


@pytest.mark.rule("W10")
def test_reversed_dates(stages: Callable[..., Stage]) -> None:
    mt5 = stages().mt5
    assert mt5.history_deals_get(EVER, 0) == ()
    assert mt5.history_deals_total(EVER, 0) == 0
    assert mt5.last_error() == (1, "Success")
    strict = stages(conventions={"reversed_dates_error": (-2, "Terminal: Invalid params")}).mt5
    assert strict.history_orders_get(EVER, 0) is None
    assert strict.last_error()[0] == -2
