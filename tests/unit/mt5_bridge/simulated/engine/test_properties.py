"""What must hold after any course of business."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

STEP = st.tuples(
    st.sampled_from(["buy", "sell", "close", "part", "limit", "stop", "close_by", "move"]),
    st.integers(1, 40),
    st.integers(-300, 300),
)


def _run(desk: Any, steps: list[tuple[str, int, int]]) -> None:
    price = 110_000
    for word, size, points in steps:
        volume = size / 100
        held = desk.positions()
        if word == "move":
            price += points
            desk.move((price / 1e5, (price + 10) / 1e5))
        elif word in ("buy", "sell"):
            side = 1 if word == "buy" else -1
            stops = {"sl": (price - side * 200) / 1e5, "tp": (price + side * 250) / 1e5} if points > 0 else {}
            desk.deal(0 if word == "buy" else 1, volume, **stops)
        elif word in ("limit", "stop"):
            kind, offset = (2, -abs(points) - 20) if word == "limit" else (4, abs(points) + 20)
            desk.pending(kind, (price + offset) / 1e5, volume)
        elif word == "close_by" and len(held) > 1:
            desk.send(action=10, position=held[0].ticket, position_by=held[-1].ticket)
        elif held:
            position = held[size % len(held)]
            amount = position.volume if word == "close" else volume
            desk.deal(1 - position.type, amount, position=position.ticket)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, max_size=25))
def test_the_books_add_up(desk_with: Callable[..., Any], steps: list[tuple[str, int, int]]) -> None:
    desk = desk_with()
    _run(desk, steps)
    deals, info = desk.account.deals, desk.info()
    assert round(sum(deal.profit + deal.swap + deal.commission + deal.fee for deal in deals), 2) == info.balance
    assert info.equity == round(info.balance + sum(position.profit for position in desk.positions()), 2)
    assert info.margin_free == round(info.equity - info.margin, 2)
    for position in desk.positions():
        entered = sum(deal.volume for deal in deals if deal.position_id == position.identifier and deal.entry == 0)
        left = sum(deal.volume for deal in deals if deal.position_id == position.identifier and deal.entry != 0)
        assert round(entered - left, 8) == position.volume
    finished = {order.ticket for order in desk.account.history}
    assert {deal.order for deal in deals if deal.order} <= finished
    assert not finished & {order.ticket for order in desk.orders()}
    assert len({deal.ticket for deal in deals}) == len(deals)


@settings(max_examples=30, deadline=None)
@given(
    moves=st.lists(st.integers(-120, 120), min_size=1, max_size=60),
    cuts=st.sets(st.integers(1, 59)),
)
def test_how_ticks_are_cut_into_batches_changes_nothing(
    desk_with: Callable[..., Any], moves: list[int], cuts: set[int]
) -> None:
    price, quotes = 110_000, []
    for step in moves:
        price += step
        quotes.append((price / 1e5, (price + 10) / 1e5))
    outcomes = []
    for edges in (cuts, set(range(1, len(quotes)))):
        desk = desk_with(balance=800.0)
        desk.deal(0, 0.5, sl=1.096, tp=1.104)
        desk.deal(1, 0.1)
        desk.pending(2, 1.098, 0.05)
        desk.pending(4, 1.102, 0.05)
        bounds = sorted({0, len(quotes), *(edge for edge in edges if edge < len(quotes))})
        for start, stop in pairwise(bounds):
            desk.move(*quotes[start:stop])
        outcomes.append((tuple(desk.account.deals), desk.positions(), desk.orders(), desk.info()))
    assert outcomes[0] == outcomes[1]
