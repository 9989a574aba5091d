"""What became of an order is read from the books, and never guessed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5_bridge.journal import Entry, State
from mt5_bridge.settlement import Books, Finding, Waiting, find, not_executed
from tests.bridge_doubles import struct

REQUEST = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "magic": 7, "comment": "c"}
NOBODY: frozenset[int] = frozenset()


def entry(**request: Any) -> Entry:
    return Entry(1, "a", State.UNKNOWN, "user:1", 7, REQUEST | request, 0.0, 0.0, broker_time=1000, watermark=50)


def order(**change: Any) -> Any:
    fields = {"ticket": 51, "symbol": "EURUSD", "volume_initial": 0.1, "type": 0, "magic": 7, "comment": "c"}
    return struct("TradeOrder", **fields | {"state": 4, "time_setup": 1001, "position_id": 51} | change)


def deal(**change: Any) -> Any:
    return struct("TradeDeal", **{"ticket": 900, "order": 51, "volume": 0.1, "price": 1.5} | change)


def test_a_filled_order_is_done_with_its_deal() -> None:
    found = find(entry(), Books(history_orders=(order(),), deals=(deal(),)), NOBODY)
    assert isinstance(found, Finding)
    assert found.state is State.DONE
    values = found.result
    assert (values.retcode, values.order, values.deal, values.price, values.volume) == (10009, 51, 900, 1.5, 0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": "GBPUSD"},
        {"type": 1},
        {"volume_initial": 0.2},
        {"magic": 8},
        {"ticket": 50},
        {"time_setup": 900},
    ],
)
def test_an_order_that_differs_in_anything_or_is_older_is_another_one(change: dict[str, Any]) -> None:
    assert find(entry(), Books(history_orders=(order(**change),)), NOBODY) is None


def test_an_order_with_another_comment_may_be_ours_so_ours_is_not_called_not_executed() -> None:
    changed = order(comment="changed by the server")
    assert isinstance(find(entry(), Books(history_orders=(changed,)), NOBODY), Waiting)
    assert find(entry(), Books(history_orders=(changed,)), frozenset({51})) is None, "it is another row's"
    stopped_out = order(comment="[sl 1.1]", reason=4)
    assert find(entry(), Books(history_orders=(stopped_out,)), NOBODY) is None, "the server's own"
    exact = order(ticket=52, position_id=52)
    found = find(entry(), Books(history_orders=(changed, exact), deals=(deal(order=52),)), NOBODY)
    assert isinstance(found, Finding)
    assert found.result.order == 52, "the one that is as it was asked for"


@pytest.mark.parametrize(
    ("asked", "booked", "found"), [(1.234567, 1.23457, True), (1.23457, 1.23458, False), (1.3, 1.0, False)]
)
def test_a_pending_order_is_recognised_at_its_rounded_price(asked: float, booked: float, found: bool) -> None:
    placed = order(type=2, price_open=booked, state=1)
    settled = find(entry(action=5, type=2, price=asked), Books(orders=(placed,)), NOBODY)
    assert isinstance(settled, Finding) is found
    assert found or settled is None


def test_an_order_of_another_row_is_not_taken_twice() -> None:
    assert find(entry(), Books(history_orders=(order(),)), frozenset({51})) is None


def test_a_closing_order_must_be_for_the_same_position() -> None:
    assert find(entry(position=40), Books(history_orders=(order(position_id=41),)), NOBODY) is None
    assert find(entry(position=40), Books(history_orders=(order(position_id=40),)), NOBODY) is not None


def test_partly_filled_is_done_in_part_and_unfilled_is_refused() -> None:
    part = find(entry(), Books(history_orders=(order(state=2),), deals=(deal(volume=0.04),)), NOBODY)
    none = find(entry(), Books(history_orders=(order(state=5),)), NOBODY)
    assert isinstance(part, Finding)
    assert (part.state, part.result.retcode, part.result.volume) == (State.DONE, 10010, 0.04)
    assert isinstance(none, Finding)
    assert (none.state, none.result.retcode) == (State.REFUSED, 10006)


def test_an_order_still_on_its_way_is_waited_for() -> None:
    assert isinstance(find(entry(), Books(orders=(order(state=1),)), NOBODY), Waiting)


def test_a_pending_order_is_done_once_it_is_placed_even_if_it_has_expired_since() -> None:
    pending = entry(action=5, type=2, price=1.2)
    placed = order(type=2, price_open=1.2, state=1)
    for books in (Books(orders=(placed,)), Books(history_orders=(order(type=2, price_open=1.2, state=6),))):
        found = find(pending, books, NOBODY)
        assert isinstance(found, Finding)
        assert found.state is State.DONE
    assert find(entry(action=5, type=2, price=1.3), Books(orders=(placed,)), NOBODY) is None


@pytest.mark.parametrize(
    ("request_", "books"),
    [
        ({"action": 6, "position": 9, "sl": 1.0}, Books(positions=(struct("TradePosition", ticket=9, sl=1.0),))),
        (
            {"action": 7, "order": 9, "price": 1.1, "tp": 2.0},
            Books(orders=(struct("TradeOrder", ticket=9, price_open=1.1, tp=2.0),)),
        ),
        (
            {"action": 7, "order": 9, "price": 1.1, "tp": 2.0},
            Books(history_orders=(struct("TradeOrder", ticket=9, price_open=1.1, tp=2.0, state=4),)),
        ),
        ({"action": 8, "order": 9}, Books(history_orders=(struct("TradeOrder", ticket=9, state=2),))),
        ({"action": 10, "position": 9}, Books(history_orders=(order(type=8, position_id=9),))),
    ],
)
def test_other_actions_are_recognised_by_their_effect(request_: dict[str, Any], books: Books) -> None:
    found = find(entry(**request_), books, NOBODY)
    assert isinstance(found, Finding)
    assert found.state is State.DONE
    assert find(entry(**request_), Books(), NOBODY) is None


@pytest.mark.parametrize(("hedging", "found"), [(True, False), (False, True)])
def test_what_opens_a_position_is_not_taken_for_what_closed_one_on_a_hedging_account(
    hedging: bool, found: bool
) -> None:
    books = Books(history_orders=(order(position_id=40),), hedging=hedging)
    assert (find(entry(), books, NOBODY) is not None) is found


@given(st.floats(0, 60), st.floats(0, 60), st.booleans(), st.booleans())
def test_not_found_means_not_executed_only_after_both_waits_and_a_second_look(
    connected: float, sent: float, missed: bool, answered: bool
) -> None:
    expected = missed and connected >= 5 and sent >= (5 if answered else 30)
    verdict = not_executed(connected_for=connected, sent_for=sent, missed_before=missed, answered=answered)
    assert verdict is expected


SPECIFIED = 2
CHANGE = {"action": 7, "order": 51, "price": 1.2, "sl": 1.1}


@pytest.mark.parametrize(
    ("asked", "waits", "found"),
    [
        ({}, {}, True),
        ({"type_time": SPECIFIED, "expiration": 5000}, {"type_time": SPECIFIED, "time_expiration": 5000}, True),
        ({"type_time": SPECIFIED, "expiration": 5000}, {"type_time": SPECIFIED, "time_expiration": 4000}, False),
        ({"type_time": SPECIFIED, "expiration": 5000}, {}, False),
        ({"stoplimit": 1.15}, {"price_stoplimit": 1.15}, True),
        ({"stoplimit": 1.15}, {"price_stoplimit": 1.16}, False),
        ({"stoplimit": 1.15}, {"price_open": 1.15}, True),
        ({}, {"sl": 1.0}, False),
    ],
)
def test_a_change_of_a_pending_order_is_done_only_if_all_that_was_asked_for_is_there(
    asked: dict[str, Any], waits: dict[str, Any], found: bool
) -> None:
    placed = order(**{"type": 6, "state": 1, "price_open": 1.2, "sl": 1.1} | waits)
    assert isinstance(find(entry(**CHANGE, **asked), Books(orders=(placed,)), NOBODY), Finding) is found


@pytest.mark.parametrize(
    ("reason", "level", "found"), [(4, 1.1, True), (4, 1.05, False), (5, 1.3, True), (3, 1.1, False)]
)
def test_new_stops_are_done_if_the_position_was_closed_at_one_of_them(reason: int, level: float, found: bool) -> None:
    wish = entry(action=6, position=51, sl=1.1, tp=1.3)
    closing = order(ticket=60, position_id=51, type=1, reason=reason, price_open=level)
    assert isinstance(find(wish, Books(history_orders=(closing,)), NOBODY), Finding) is found
