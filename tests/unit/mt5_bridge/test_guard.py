"""Limits hold for new risk and never keep a trader from getting out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5_bridge.guard import Amount, Guard, Kill, OnBreach, Pause, Window, parse_guard
from mt5_bridge.guard_memory import Level, Memory, Trip
from mt5_bridge.guard_rules import Figures, OpenBooks, losses, must_close, reduces, refusal, take_in
from tests.bridge_doubles import struct

BUY = {"action": 1, "symbol": "EURUSD", "volume": 0.5, "type": 0}
NOW = 1_700_000_000.0  # Tuesday 2023-11-14 22:13:20 UTC
TRIPPED = Memory(trips=(Trip("daily_loss", NOW, 510.0, 500.0),))
NOTHING = Memory()


def position(ticket: int = 1, symbol: str = "EURUSD", side: int = 0, volume: float = 0.5) -> Any:
    return struct("TradePosition", ticket=ticket, symbol=symbol, type=side, volume=volume)


def waiting(ticket: int = 9, symbol: str = "EURUSD", volume: float = 0.5) -> Any:
    return struct("TradeOrder", ticket=ticket, symbol=symbol, type=2, volume_current=volume)


def code(
    guard: Guard,
    request: dict[str, Any],
    books: OpenBooks | None = None,
    memory: Memory = NOTHING,
    now: float = NOW,
    problem: str = "",
) -> str | None:
    found = refusal(guard, memory, problem, books or OpenBooks(), request, now)
    return found.code if found else None


@pytest.mark.parametrize(
    ("guard", "expected"),
    [
        (Guard(), None),
        (Guard(symbols=frozenset({"EURUSD"}), max_volume=0.5), None),
        (Guard(symbols=frozenset({"GBPUSD"})), "guard_symbol"),
        (Guard(max_volume=0.49), "guard_volume"),
        (Guard(trading=False), "guard_trading"),
        (Guard(kill=Kill.NO_NEW_ORDERS), "guard_kill"),
        (Guard(max_positions=0), "guard_positions"),
        (Guard(max_open_volume=0.4), "guard_open_volume"),
        (Guard(orders_per_minute=0), "guard_pace"),
    ],
)
@pytest.mark.parametrize("action", [1, 5])
def test_a_new_deal_or_order_outside_the_limits_is_refused(guard: Guard, expected: str | None, action: int) -> None:
    assert code(guard, BUY | {"action": action}) == expected


STRICT = Guard(
    symbols=frozenset(),
    max_symbols=0,
    max_volume=0.01,
    max_open_volume=0.01,
    max_positions=0,
    max_orders=0,
    orders_per_minute=0,
    hours=(),
    pauses=(Pause(0, 2**40),),
    trading=False,
    kill=Kill.CLOSE_ALL,
)


@pytest.mark.parametrize("action", [6, 8, 10])
def test_changing_stops_removing_orders_and_closing_by_always_passes(action: int) -> None:
    assert code(STRICT, BUY | {"action": action}, memory=TRIPPED, problem="lost") is None


@given(
    held=st.lists(
        st.tuples(st.sampled_from(["EURUSD", "GBPUSD"]), st.sampled_from([0, 1]), st.integers(1, 200)), max_size=6
    ),
    chosen=st.integers(0, 5),
    part=st.integers(1, 100),
    hedging=st.booleans(),
)
def test_no_limit_ever_keeps_a_position_from_being_made_smaller(
    held: list[tuple[str, int, int]], chosen: int, part: int, hedging: bool
) -> None:
    """Whatever is set, tripped, lost or thrown."""
    positions = [position(at + 1, symbol, side, lots / 100) for at, (symbol, side, lots) in enumerate(held)]
    if not positions:
        return
    mine = positions[chosen % len(positions)]
    request = BUY | {
        "symbol": mine.symbol,
        "type": 1 - mine.type,
        "volume": mine.volume * part / 100,
        "position": mine.ticket,
    }
    books = OpenBooks(positions, [waiting()], [BUY], (NOW,), hedging)
    assert code(STRICT, request, books, TRIPPED, problem="lost") is None


@pytest.mark.parametrize("guard", [Guard(kill=Kill.NO_NEW_ORDERS), Guard(hours=()), Guard(trading=False)])
def test_a_waiting_order_is_not_moved_to_the_market_while_nothing_may_be_opened(guard: Guard) -> None:
    assert code(guard, {"action": 7, "order": 9, "price": 1.1}) is not None
    assert code(Guard(max_volume=0.01), {"action": 7, "order": 9, "price": 1.1}) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"type": 0}, False),
        ({"volume": 0.6}, False),
        ({"symbol": "GBPUSD"}, False),
        ({"position": 2}, False),
        ({"position": 0}, False),
        ({"action": 5}, False),
    ],
)
def test_only_an_opposite_deal_within_the_position_reduces_it(change: dict[str, Any], expected: bool) -> None:
    assert reduces(BUY | {"type": 1, "position": 1} | change, (position(),)) is expected


def test_on_a_netting_account_the_opposite_deal_needs_no_ticket_to_reduce() -> None:
    assert reduces(BUY | {"type": 1}, (position(),), hedging=False)
    assert not reduces(BUY | {"type": 1}, (position(),), hedging=True)
    assert not reduces(BUY | {"type": 1, "volume": 0.51}, (position(),), hedging=False)


SYMBOLS = st.sampled_from(["EURUSD", "GBPUSD", "USDJPY"])
REQUESTS = st.fixed_dictionaries(
    {"action": st.sampled_from([1, 5]), "symbol": SYMBOLS, "volume": st.integers(1, 60).map(lambda lots: lots / 100)}
)


@given(
    requests=st.lists(st.tuples(REQUESTS, st.booleans()), max_size=30),
    limits=st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(1, 150), st.integers(0, 3)),
    hedging=st.booleans(),
)
def test_no_sequence_of_orders_exceeds_what_is_counted(
    requests: list[tuple[dict[str, Any], bool]], limits: tuple[int, int, int, int], hedging: bool
) -> None:
    """Also while answers are missing: what was sent and is not settled counts, and waiting orders may all trigger."""
    symbols, places, lots, orders = limits
    guard = Guard(max_symbols=symbols, max_positions=places, max_open_volume=lots / 100, max_orders=orders)
    positions: list[Any] = []
    pending: list[Any] = []
    coming: list[Any] = []
    for at, (wish, lost) in enumerate(requests):
        request = wish | {"type": 0}
        books = OpenBooks(positions, pending, coming, (), hedging)
        if code(guard, request, books) is not None:
            continue
        if lost:
            coming.append(request)
        elif request["action"] == 5:
            pending.append(waiting(at, request["symbol"], request["volume"]))
        else:
            positions.append(position(at, request["symbol"], 0, request["volume"]))
        everything = [(each.symbol, each.volume) for each in positions]
        everything += [(each.symbol, each.volume_current) for each in pending]
        everything += [(each["symbol"], each["volume"]) for each in coming]
        assert len({symbol for symbol, _ in everything}) <= symbols
        assert sum(volume for _, volume in everything) <= lots / 100 + 1e-6
        assert len(everything if hedging else {symbol for symbol, _ in everything}) <= places
        assert len(pending) + sum(each["action"] == 5 for each in coming) <= orders


def test_turning_a_netting_position_counts_what_is_left_of_it() -> None:
    guard, books = Guard(max_open_volume=0.5), OpenBooks([position()], hedging=False)
    assert code(guard, BUY | {"type": 1, "volume": 1.0}, books) is None
    assert code(guard, BUY | {"type": 1, "volume": 1.1}, books) == "guard_open_volume"


@given(st.lists(st.floats(0, 300), max_size=40).map(sorted), st.integers(1, 5))
def test_in_no_minute_are_more_orders_sent_than_allowed(times: list[float], allowed: int) -> None:
    guard, sent = Guard(orders_per_minute=allowed), list[float]()
    for at in times:
        if code(guard, BUY, OpenBooks(opened_at=tuple(sent)), now=NOW + at) is None:
            sent.append(NOW + at)
    assert all(sum(start <= at < start + 60 for at in sent) <= allowed for start in sent)


def test_trading_hours_are_those_of_the_broker() -> None:
    athens = ((0, 7200),)
    guard = Guard(hours=(Window(2, 0, 60),), utc_offsets=athens)  # Wednesday 00:00 to 01:00 in Athens
    assert code(guard, BUY) == None  # noqa: E711 - 00:13 there
    assert code(replace(guard, utc_offsets=()), BUY) == "guard_hours"
    found = refusal(replace(guard, utc_offsets=()), NOTHING, "", OpenBooks(), BUY, NOW)
    assert found is not None
    assert "Wednesday at 00:00" in found.message


@pytest.mark.parametrize(
    ("pause", "expected"),
    [
        (Pause(int(NOW), int(NOW) + 1), "guard_pause"),
        (Pause(int(NOW) + 1, int(NOW) + 9), None),
        (Pause(int(NOW) - 9, int(NOW)), None),
        (Pause(0, 2**40, currencies=frozenset({"USD"})), "guard_pause"),
        (Pause(0, 2**40, currencies=frozenset({"JPY"})), None),
        (Pause(0, 2**40, symbols=frozenset({"GBPUSD"})), None),
    ],
)
def test_a_pause_holds_for_its_time_and_its_symbols(pause: Pause, expected: str | None) -> None:
    books = OpenBooks(currencies=frozenset({"EUR", "USD"}))
    assert code(Guard(pauses=(pause,)), BUY, books) == expected


@pytest.mark.parametrize(
    ("guard", "equities", "tripped"),
    [
        (Guard(daily_loss=Amount(5, percent=True)), (10_000, 9_501), ()),
        (Guard(daily_loss=Amount(5, percent=True)), (10_000, 9_500), ("daily_loss",)),
        (Guard(daily_loss=Amount(100)), (10_000, 11_000, 10_000, 9_901), ()),
        (Guard(drawdown=Amount(10, percent=True)), (10_000, 15_000, 9_001), ()),
        (Guard(drawdown=Amount(10, percent=True)), (10_000, 9_000, 12_000), ("drawdown",)),
        (Guard(drawdown=Amount(10, percent=True), drawdown_trails=True), (10_000, 15_000, 13_500), ("drawdown",)),
        (Guard(drawdown=Amount(1000), drawdown_trails=True), (10_000, 15_000, 14_001), ()),
        (Guard(drawdown=Amount(10, percent=True), drawdown_start=20_000), (18_000,), ("drawdown",)),
        (Guard(equity_floor=9_000), (10_000, 9_001), ()),
        (Guard(equity_floor=9_000), (10_000, 9_000, 20_000), ("equity_floor",)),
        (Guard(equity_floor=9_000), (8_000,), ("equity_floor",)),
    ],
)
def test_a_loss_limit_that_is_hit_stays_tripped(
    guard: Guard, equities: tuple[float, ...], tripped: tuple[str, ...]
) -> None:
    memory = NOTHING
    for at, equity in enumerate(equities):
        memory = take_in(guard, memory, Figures(10_000, equity), NOW + at)
    assert tuple(trip.switch for trip in memory.trips) == tripped
    assert code(guard, BUY, memory=memory) == (f"guard_{tripped[0]}" if tripped else None)


EQUITIES = st.floats(1, 100_000, allow_nan=False)


@given(
    st.lists(st.tuples(EQUITIES, st.floats(0, 90_000)), min_size=1, max_size=30),
    st.floats(1, 5000),
    st.sampled_from(list(OnBreach)),
)
def test_after_a_day_s_loss_nothing_opens_until_a_person_re_arms(
    looks: list[tuple[float, float]], loss: float, on_breach: OnBreach
) -> None:
    guard, memory, now = Guard(daily_loss=Amount(loss), on_breach=on_breach), NOTHING, NOW
    ever = False
    for equity, pause in looks:
        now += pause
        memory = take_in(guard, memory, Figures(equity, equity), now)
        assert memory.day_base is not None
        ever = ever or memory.day_base.amount - equity >= loss
        assert bool(memory.trips) is ever
        assert must_close(guard, memory) is (ever and on_breach is OnBreach.CLOSE_ALL)
    armed = take_in(replace(guard, rearm_id="one"), memory, Figures(equity, equity), now)
    assert not armed.trips
    assert all(not each.hit for each in losses(guard, armed, Figures(equity, equity)))
    again = take_in(replace(guard, rearm_id="one"), armed, Figures(equity - loss, equity - loss), now)
    assert again.trips, "one re-arming works once"
    assert take_in(replace(guard, rearm_id="one"), again, Figures(equity, equity), now).trips


def test_a_new_day_begins_at_the_broker_s_hour_and_never_when_the_clock_is_set_back() -> None:
    guard = Guard(daily_loss=Amount(100), day_reset=60, utc_offsets=((0, 7200),))
    midnight_there = 1_700_000_000 - (1_700_000_000 + 7200) % 86_400 + 86_400
    before = take_in(guard, NOTHING, Figures(1000, 1000), midnight_there + 3599)
    same = take_in(guard, before, Figures(950, 950), midnight_there + 3599.5)
    assert same.day_base == Level(1000, 1000)
    after = take_in(guard, same, Figures(950, 950), midnight_there + 3600)
    assert after.day_base == Level(950, 950)
    assert take_in(guard, after, Figures(900, 900), midnight_there).day_base == Level(950, 950)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"symbols": "EURUSD"},
        {"symbols": [1]},
        {"max_volume": 0},
        {"max_volume": True},
        {"trading": 1},
        {"daily_loss": 5},
        {"daily_loss": {"value": -1}},
        {"hours": [{"day": 7, "start": 0, "end": 5}]},
        {"hours": [{"day": 1, "start": 9, "end": 9}]},
        {"kill": "maybe"},
        {"rearm_id": "../x"},
        {"max_positions": -1},
        {"pauses": [{"start": 0}]},
        {"utc_offsets": [[0]]},
    ],
)
def test_a_bad_configuration_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="guard"):
        parse_guard(data)


def test_an_empty_configuration_limits_nothing() -> None:
    assert parse_guard({}).free
    assert parse_guard({"rearm_id": "a", "kill": "none", "day_reset": 60}).free
    assert not parse_guard({"kill": "close_all"}).free
