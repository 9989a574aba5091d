"""The final count finds every kind of loss and doubling, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control_plane.demo.count import BrokerBook, FarmLog, compare

TICKETS = st.frozensets(st.integers(1, 40), max_size=15)


def book(trades: frozenset[int], orders: frozenset[int]) -> BrokerBook:
    return BrokerBook(trades=trades, balance_deals=frozenset({1000}), expert_orders=orders)


def log(trades: tuple[int, ...], orders: tuple[int, ...]) -> FarmLog:
    return FarmLog(deals=(1000, *trades), orders=tuple(("done", order) for order in orders))


@given(TICKETS, TICKETS)
def test_equal_books_are_clean(trades: frozenset[int], orders: frozenset[int]) -> None:
    count = compare([(1, book(trades, orders), log(tuple(trades), tuple(orders)))])
    assert count.clean
    assert count.deals_broker == count.deals_recorded == len(trades)
    assert count.orders_sent == len(orders)
    assert count.notes == []


@given(TICKETS, TICKETS)
def test_each_missing_deal_is_lost(at_broker: frozenset[int], recorded: frozenset[int]) -> None:
    count = compare([(1, book(at_broker, frozenset()), log(tuple(recorded), ()))])
    assert count.lost == len(at_broker - recorded)
    assert count.duplicated == len(recorded - at_broker)


def test_a_row_recorded_twice_is_duplicated() -> None:
    count = compare([(1, book(frozenset({5}), frozenset()), log((5, 5), ()))])
    assert (count.lost, count.duplicated) == (0, 1)


def test_an_order_at_the_broker_without_an_intent_is_duplicated() -> None:
    count = compare([(1, book(frozenset(), frozenset({7, 8})), log((), (7,)))])
    assert (count.lost, count.duplicated) == (0, 1)
    assert "8" in count.notes[0]


def test_an_intent_done_without_an_order_at_the_broker_is_lost() -> None:
    count = compare([(1, book(frozenset(), frozenset()), log((), (7,)))])
    assert (count.lost, count.duplicated) == (1, 0)


def test_an_order_with_unknown_outcome_is_not_clean() -> None:
    unsettled = FarmLog(deals=(1000,), orders=(("unknown", 0),))
    count = compare([(1, book(frozenset(), frozenset()), unsettled)])
    assert not count.clean
    assert count.unsettled == 1


def test_a_refused_order_is_neither_lost_nor_doubled() -> None:
    refused = FarmLog(deals=(1000,), orders=(("refused", 0),))
    assert compare([(1, book(frozenset(), frozenset()), refused)]).clean
