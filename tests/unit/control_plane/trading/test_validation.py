"""What passes our checks the broker does not call invalid, and what we refuse it would refuse."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from control_plane.access.market import SymbolSpec, spec_of
from control_plane.trading import requests, validation
from control_plane.trading.state import Expiration, OrderType, Side
from control_plane.trading.validation import Levels, Problem, Proposal, Quote
from mt5_bridge.contract import RETCODES
from mt5_bridge.simulated.engine.symbol_view import symbol_info
from tests.trading_desk import MONDAY_NOON, Desk

INVALID = frozenset(
    code
    for code, name in RETCODES.items()
    if name.removeprefix("TRADE_RETCODE_")
    in {
        "INVALID",
        "INVALID_VOLUME",
        "INVALID_PRICE",
        "INVALID_STOPS",
        "TRADE_DISABLED",
        "INVALID_EXPIRATION",
        "NO_CHANGES",
        "FROZEN",
        "INVALID_FILL",
        "INVALID_ORDER",
        "INVALID_CLOSE_VOLUME",
        "LONG_ONLY",
        "SHORT_ONLY",
        "CLOSE_ONLY",
    }
)
BID, ASK = 1.10000, 1.10010

symbols = st.fixed_dictionaries(
    {
        "stops_level": st.sampled_from([0, 1, 10, 50]),
        "freeze_level": st.sampled_from([0, 5, 30]),
        "trade_mode": st.sampled_from([4, 4, 4, 4, 0, 1, 2, 3]),
        "execution": st.integers(0, 3),
        "order_mode": st.one_of(st.just(127), st.integers(0, 127)),
        "filling_mode": st.integers(0, 3),
        "expiration_mode": st.one_of(st.just(15), st.integers(0, 15)),
        "volume_min": st.sampled_from([0.01, 0.1]),
        "volume_step": st.sampled_from([0.01, 0.1]),
        "volume_max": st.sampled_from([1.0, 500.0]),
    }
)
near = st.integers(-80, 80).map(lambda points: round(BID + points * 1e-5, 5))
prices = st.one_of(near, near, st.sampled_from([0.5, 1.0, 1.2, 2.0, 1.100004]))
stops = st.one_of(st.just(0.0), prices)
volumes = st.one_of(st.sampled_from([0.01, 0.05, 0.1, 0.5]), st.integers(1, 2000).map(lambda each: each / 1000))
ends = st.one_of(st.just(0), st.integers(MONDAY_NOON - 90_000, MONDAY_NOON + 90_000))
levels = st.builds(Levels, prices, stops, stops, stops, st.sampled_from(Expiration), ends)


@st.composite
def proposals(draw: st.DrawFn) -> Proposal:
    """As the schema lets them through: only a stop-limit has a price for its limit, only some lives have an end."""
    kind, wanted = draw(st.sampled_from(OrderType)), draw(levels)
    return Proposal(kind, draw(st.sampled_from(Side)), draw(volumes), _as_said(kind, wanted))


def _as_said(kind: OrderType, wanted: Levels) -> Levels:
    if kind is OrderType.MARKET:
        return Levels(stop_loss=wanted.stop_loss, take_profit=wanted.take_profit)
    ends_somewhen = wanted.expiration in {Expiration.SPECIFIED, Expiration.SPECIFIED_DAY}
    return Levels(
        wanted.price,
        (wanted.stop_limit_price or 1.1) if kind is OrderType.STOP_LIMIT else 0.0,
        wanted.stop_loss,
        wanted.take_profit,
        wanted.expiration,
        wanted.expires_broker_time if ends_somewhen else 0,
    )


def spec_and_quote(desk: Desk) -> tuple[SymbolSpec, Quote]:
    book = desk.book
    now = book.now_msc // 1000
    no_prices: Any = SimpleNamespace(last_tick=None, day=None)
    info = symbol_info(desk.spec, no_prices, book.valuation, "USD", now, selected=True, visible=True)
    return spec_of(info), Quote(BID, ASK, now)


def agree(problems: list[Problem], answer: Any) -> None:
    said = [f"{each.field}: {each.text}" for each in problems]
    if problems:
        assert answer.retcode in INVALID, f"refused here with {said}, there {RETCODES[answer.retcode]}"
    else:
        assert answer.retcode not in INVALID, f"fine here, there {RETCODES[answer.retcode]}"


@settings(max_examples=600, deadline=None)
@given(symbols, proposals())
@example({"freeze_level": 0}, Proposal(OrderType.MARKET, Side.BUY, 0.1, Levels(stop_loss=1.09990)))
@example({"execution": 2, "filling_mode": 0}, Proposal(OrderType.MARKET, Side.BUY, 0.1, Levels()))
def test_opening_and_placing(symbol: dict[str, Any], wish: Proposal) -> None:
    desk = Desk(balance=1e9, **symbol)
    spec, quote = spec_and_quote(desk)
    problems = validation.opening_problems(wish, spec, quote)
    agree(problems, desk.send(**requests.opening(spec, wish, quote, None, "")))


@settings(max_examples=300, deadline=None)
@given(symbols, st.sampled_from([0, 1]), st.sampled_from([0.1, 0.5]), volumes, stops, stops)
def test_closing(symbol: dict[str, Any], side: int, held: float, lots: float, sl: float, tp: float) -> None:
    desk, position = with_position(symbol, side, held, sl, tp)
    spec, quote = spec_and_quote(desk)
    problems = validation.closing_problems(lots, position, spec, quote)
    request = requests.closing(spec, position, validation.closing_side(position), lots, quote, None)
    agree(problems, desk.send(**request))


@settings(max_examples=300, deadline=None)
@given(symbols, st.sampled_from([0, 1]), stops, stops, stops, stops)
def test_new_stops(symbol: dict[str, Any], side: int, sl: float, tp: float, new_sl: float, new_tp: float) -> None:
    desk, position = with_position(symbol, side, 0.1, sl, tp)
    spec, quote = spec_and_quote(desk)
    problems = validation.stops_problems(new_sl, new_tp, position, spec, quote)
    agree(problems, desk.send(**requests.new_stops(position, new_sl, new_tp)))


@settings(max_examples=400, deadline=None)
@given(symbols, st.integers(2, 7), st.integers(60, 200), levels)
def test_changing_and_cancelling_a_pending_order(
    symbol: dict[str, Any], kind: int, distance: int, wanted: Levels
) -> None:
    desk = Desk(balance=1e9)
    away = distance * 1e-5 * (-1 if kind in {2, 5, 7} else 1)
    price = round(BID + away, 5)
    inner = {6: price - 1e-3, 7: price + 1e-3}.get(kind, 0.0)
    placed = desk.pending(kind, price, stoplimit=round(inner, 5))
    assert placed.retcode == 10009, placed
    desk.change(**symbol)
    order = desk.orders()[0]
    spec, quote = spec_and_quote(desk)
    change = _as_said(validation.pending_type(order), wanted)
    # An exchange fills a limit order that is moved through the market, and there is nothing left to cancel.
    agree(validation.change_problems(change, order, spec, quote), desk.send(**requests.change(order, change)))
    for left in desk.orders():
        agree(validation.cancel_problems(left, spec, quote), desk.send(**requests.removal(left)))


@settings(max_examples=100, deadline=None)
@given(symbols, st.booleans(), st.booleans())
def test_closing_by_another(symbol: dict[str, Any], hedging: bool, opposite: bool) -> None:
    desk = Desk(balance=1e9, account={} if hedging else {"margin_mode": 0})
    desk.deal(0)
    desk.deal(int(opposite and hedging))
    first, other = desk.positions()[0], desk.positions()[-1]
    desk.change(**symbol)
    spec, _ = spec_and_quote(desk)
    problems = validation.close_by_problems(first, other, spec, hedging=hedging)
    agree(problems, desk.send(**requests.closing_by(first, other)))


@pytest.mark.parametrize(
    ("execution", "filling_mode", "policy"),
    [(2, 1, 0), (2, 2, 1), (2, 3, 0), (2, 0, None), (3, 0, 2), (3, 2, 1), (0, 0, 0), (1, 2, 0)],
)
def test_the_filling_policy_is_one_of_the_symbols(execution: int, filling_mode: int, policy: int | None) -> None:
    spec, _ = spec_and_quote(Desk(execution=execution, filling_mode=filling_mode))
    assert validation.filling_for(spec, OrderType.MARKET) == policy


def with_position(symbol: dict[str, Any], side: int, volume: float, sl: float, tp: float) -> tuple[Desk, Any]:
    """A position that was opened before the symbol got its limits, with stops on their sides."""
    desk = Desk(balance=1e9)
    desk.deal(side, volume)
    low, high = sorted((sl, tp))
    under, over = low if 0 < low < BID else 0.0, high if high > ASK else 0.0
    if under or over:
        desk.sltp(desk.positions()[0].ticket, *((over, under) if side else (under, over)))
    desk.change(**symbol)
    return desk, desk.positions()[0]
