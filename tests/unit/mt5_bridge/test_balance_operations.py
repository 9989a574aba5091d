"""Deposits and withdrawals are neither profit nor loss, in whatever order the terminal tells of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5_bridge.balance_operations import Ledger, Movement, movement, open_ledger
from mt5_bridge.guard import Amount, Guard
from mt5_bridge.guard_memory import GuardRecord, Level, Memory, Trip, memory_data, parse_memory
from mt5_bridge.guard_rules import Figures, after_movement, losses, take_in
from mt5_bridge.journal import Journal
from tests.bridge_doubles import struct

NOW = 1_700_000_000.0
START = Ledger(10_000.0, 0, 0)
SELL, BALANCE, CREDIT, CHARGE, CORRECTION, BONUS = 1, 2, 3, 4, 5, 6
CENTS = st.integers(-500_000, 500_000).map(lambda cents: cents / 100)
DEALS = st.lists(st.tuples(st.sampled_from([SELL, BALANCE, CREDIT, CHARGE, CORRECTION, BONUS]), CENTS), max_size=12)
EQUITIES = st.floats(100, 100_000)


def deal(ticket: int, kind: int, amount: float, **parts: float) -> Any:
    return struct("TradeDeal", ticket=ticket, type=kind, profit=amount, time=100 + ticket, **parts)


def booked(made: list[tuple[int, float]]) -> list[Any]:
    return [deal(at + 1, kind, amount) for at, (kind, amount) in enumerate(made)]


def paid_in(deals: list[Any]) -> float:
    return float(sum(each.profit for each in deals if each.type in {BALANCE, CREDIT, CORRECTION, BONUS}))


@given(DEALS)
def test_what_deals_of_the_balance_move_is_told_from_what_trading_has_brought(made: list[tuple[int, float]]) -> None:
    deals = booked(made)
    found = movement(START, START.money + sum(each.profit for each in deals), deals)
    assert found.explained
    assert found.missing == 0
    assert found.amount == pytest.approx(paid_in(deals), abs=1e-6)


def test_swap_commission_and_fee_belong_to_the_result() -> None:
    sold = deal(1, SELL, 50.0, swap=-1.0, commission=-2.5, fee=-0.5)
    assert movement(START, 10_046.0, [sold]) == Movement(Ledger(10_046.0, 1, 101))


@given(DEALS, st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=8))
def test_every_movement_counts_once_however_late_the_balance_or_the_deals_are(
    made: list[tuple[int, float]], looks: list[tuple[int, int]]
) -> None:
    """A look sees so many deals in the balance and so many in the history, and never less than the look before it."""
    deals, ledger, total = booked(made), START, 0.0
    balanced = dealt = 0
    for in_balance, in_history in [*looks, (len(deals), len(deals))]:
        balanced, dealt = max(balanced, in_balance), max(dealt, in_history)
        seen = [each for each in deals[:dealt] if each.time >= ledger.since]
        found = movement(ledger, START.money + sum(each.profit for each in deals[:balanced]), seen)
        if found.explained:
            ledger, total = found.ledger, total + found.amount
    assert total == pytest.approx(paid_in(deals), abs=1e-5)
    assert ledger.ticket == len(deals)


@given(DEALS, st.integers(0, 12), st.integers(0, 12))
def test_no_more_is_said_to_have_moved_than_both_the_balance_and_the_deals_say(
    made: list[tuple[int, float]], in_balance: int, in_history: int
) -> None:
    deals = booked(made)
    change = sum(each.profit for each in deals[:in_balance])
    found = movement(START, START.money + change, deals[:in_history])
    said = paid_in(deals[:in_history])
    assert min(0.0, said) - 1e-6 <= found.amount <= max(0.0, said) + 1e-6
    assert found.missing <= 0


@pytest.mark.parametrize(
    ("money", "deals", "amount", "missing", "explained"),
    [
        (12_000.0, [deal(1, BALANCE, 2_000.0)], 2_000.0, 0.0, True),
        (8_000.0, [], 0.0, -2_000.0, False),
        (12_000.0, [], 0.0, 0.0, False),
        (10_000.0, [deal(1, BALANCE, 2_000.0)], 0.0, 0.0, False),
        (9_400.0, [deal(1, SELL, -600.0)], 0.0, 0.0, True),
        (7_400.0, [deal(1, SELL, -600.0)], 0.0, -2_000.0, False),
    ],
    ids=["deposit", "withdrawal without deal", "deposit without deal", "deal alone", "loss", "loss and withdrawal"],
)
def test_what_no_deal_explains_is_not_said_to_have_moved(
    money: float, deals: list[Any], amount: float, missing: float, explained: bool
) -> None:
    found = movement(START, money, deals)
    assert (found.amount, found.missing, found.explained) == (amount, missing, explained)


def test_a_ledger_begins_behind_the_deals_that_are_there() -> None:
    assert open_ledger(500.0, [deal(3, SELL, 1.0), deal(7, BALANCE, 500.0)], 50) == Ledger(500.0, 7, 107)
    assert open_ledger(0.0, [], 50) == Ledger(0.0, 0, 50)


LIMITS = st.builds(
    Guard,
    daily_loss=st.builds(Amount, st.floats(1, 99), st.booleans()),
    drawdown=st.builds(Amount, st.floats(1, 99), st.booleans()),
    drawdown_trails=st.booleans(),
    drawdown_start=st.none() | EQUITIES,
    equity_floor=st.none() | st.floats(1, 99),
)


@given(LIMITS, EQUITIES, EQUITIES, st.floats(-0.95, 5))
def test_a_movement_changes_neither_what_is_lost_nor_what_may_be_lost(
    guard: Guard, first: float, equity: float, part: float
) -> None:
    """In money where the limit is in money, in percent of the equity where it is in percent."""
    memory = take_in(guard, Memory(), Figures(first, first), NOW)
    memory = take_in(guard, memory, Figures(equity, equity), NOW + 1)
    after = after_movement(memory, equity * part, equity * (1 + part))
    before = losses(guard, memory, Figures(equity, equity))
    then = losses(guard, after, Figures(equity * (1 + part), equity * (1 + part)))
    scales = {
        "daily_loss": 1 + part if guard.daily_loss and guard.daily_loss.percent else 1.0,
        "drawdown": 1 + part if guard.drawdown and guard.drawdown.percent else 1.0,
        "equity_floor": 1.0,
    }
    assert [each.switch for each in then] == [each.switch for each in before]
    for old, new in zip(before, then, strict=True):
        assert new.figure == pytest.approx(old.figure * scales[old.switch], rel=1e-6, abs=1e-3)
        assert new.limit == pytest.approx(old.limit * scales[old.switch], rel=1e-6, abs=1e-3)


RETURNS = st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(-0.5, 2), st.floats(0, 40_000)), min_size=1, max_size=25)


@given(RETURNS, st.floats(1, 40), st.booleans())
def test_a_limit_in_percent_trips_at_the_same_look_with_and_without_movements(
    course: list[tuple[float, float, float]], percent: float, trails: bool
) -> None:
    limit = Amount(percent, percent=True)
    guard = Guard(daily_loss=limit, drawdown=limit, drawdown_trails=trails)
    still, moving = Memory(), Memory(ledger=START)
    equity = paid = 10_000.0
    now = NOW
    for gain, part, pause in course:
        now += pause
        equity *= 1 + gain
        amount = paid * (1 + gain) * part
        paid = paid * (1 + gain) + amount
        still = take_in(guard, still, Figures(equity, equity), now)
        moving = take_in(guard, moving, Figures(paid, paid), now, Movement(START, amount))
        if any(abs(each.figure - each.limit) < 1e-6 * equity for each in losses(guard, still, Figures(equity, equity))):
            return  # so near that rounding decides
        assert [trip.switch for trip in moving.trips] == [trip.switch for trip in still.trips]


@given(
    st.lists(st.tuples(st.integers(-900, 900), st.integers(-5_000, 9_000), st.floats(0, 40_000)), max_size=25),
    st.integers(1, 3_000),
    st.booleans(),
)
def test_a_limit_in_money_trips_at_the_same_look_with_and_without_movements(
    course: list[tuple[int, int, float]], most: int, trails: bool
) -> None:
    guard = Guard(daily_loss=Amount(most), drawdown=Amount(most), drawdown_trails=trails, equity_floor=10_000.0 - most)
    still, moving = Memory(), Memory(ledger=START)
    equity = paid = 10_000.0
    still = take_in(guard, still, Figures(equity, equity), NOW)
    moving = take_in(guard, moving, Figures(paid, paid), NOW)
    now = NOW
    for gain, amount, pause in course:
        now += pause
        equity += gain
        paid += gain + amount
        still = take_in(guard, still, Figures(equity, equity), now)
        moving = take_in(guard, moving, Figures(paid, paid), now, Movement(START, amount))
        assert [trip.switch for trip in moving.trips] == [trip.switch for trip in still.trips]


TRAILING = Guard(daily_loss=Amount(500), drawdown=Amount(10, percent=True), drawdown_trails=True)


def seen(equity: float, guard: Guard = TRAILING) -> Memory:
    return take_in(guard, Memory(ledger=START), Figures(equity, equity), NOW)


def test_a_withdrawal_without_its_deal_trips_nothing_and_a_loss_beyond_it_does() -> None:
    memory, unknown = seen(10_000.0), Movement(replace(START, money=8_000.0), missing=-2_000.0, explained=False)
    assert take_in(TRAILING, memory, Figures(8_000, 8_000), NOW + 1, unknown) == memory
    lost = take_in(TRAILING, memory, Figures(8_000, 7_400), NOW + 1, unknown)
    assert [trip.switch for trip in lost.trips] == ["daily_loss"]
    assert replace(lost, trips=()) == memory, "nothing else is learnt"


def test_a_deposit_without_its_deal_is_no_new_peak_and_begins_no_day() -> None:
    memory, unknown = seen(10_000.0), Movement(replace(START, money=15_000.0), explained=False)
    assert take_in(TRAILING, memory, Figures(15_000, 15_000), NOW + 100_000, unknown) == memory


def test_an_account_that_was_emptied_begins_anew_with_what_is_paid_in() -> None:
    memory = take_in(TRAILING, seen(10_000.0), Figures(0.0, 0.01), NOW + 1, Movement(START, -9_999.99))
    memory = take_in(TRAILING, memory, Figures(3_000, 3_000), NOW + 2, Movement(START, 3_000.0))
    assert not memory.trips
    assert memory.start is not None
    assert memory.start.share == 3_000.0
    assert take_in(TRAILING, memory, Figures(3_000, 2_690), NOW + 3).trips


def test_a_floor_goes_with_the_money_until_somebody_sets_another() -> None:
    guard = Guard(equity_floor=9_000.0)
    memory = take_in(guard, seen(10_000.0, guard), Figures(7_000, 7_000), NOW, Movement(START, -3_000.0))
    assert memory.floor == Level(6_000.0, 6_300.0, 9_000.0)
    assert not take_in(guard, memory, Figures(7_000, 6_001), NOW).trips
    assert take_in(guard, memory, Figures(7_000, 6_000), NOW).trips
    assert take_in(replace(guard, equity_floor=7_500.0), memory, Figures(7_000, 7_000), NOW).trips


def test_re_arming_forgets_what_had_moved_before() -> None:
    guard = replace(TRAILING, rearm_id="one")
    moved = Movement(Ledger(5_000.0, 4, 50), -5_000.0)
    memory = take_in(guard, seen(10_000.0), Figures(5_000, 5_000), NOW + 1, moved)
    assert memory.peak == memory.start == memory.day_base == Level(5_000, 5_000)
    assert memory.ledger == moved.ledger


LEVELS = st.builds(Level, EQUITIES, EQUITIES)
GIVEN = st.builds(Level, EQUITIES, EQUITIES, EQUITIES)
MEMORIES = st.builds(
    Memory,
    day=st.none() | st.integers(0, 30_000),
    day_base=st.none() | LEVELS,
    start=st.none() | LEVELS,
    peak=st.none() | LEVELS,
    given_start=st.none() | GIVEN,
    floor=st.none() | GIVEN,
    trips=st.lists(st.builds(Trip, st.just("drawdown"), EQUITIES, EQUITIES, EQUITIES), max_size=3).map(tuple),
    ledger=st.none() | st.builds(Ledger, EQUITIES, st.integers(0, 2**40), st.integers(0, 2**31)),
)


@given(MEMORIES)
def test_the_memory_survives_being_written_down(memory: Memory) -> None:
    assert parse_memory(json.loads(json.dumps(memory_data(memory)))) == memory


def test_the_memory_of_an_older_worker_is_read() -> None:
    old = {"day": 1, "day_base": 5.0, "day_since": 0.0, "start": 4.0, "peak": 6.0, "trips": [], "rearm_id": ""}
    assert parse_memory(old) == Memory(1, Level(5, 5), 0.0, Level(4, 4), Level(6, 6))


def test_what_moved_while_the_worker_was_dead_is_counted_from_the_ledger_on_disk(tmp_path: Path) -> None:
    """The disk is spared where trading alone has moved the ledger; the older one leads to the same."""
    journal = Journal(tmp_path / "journal", lambda: NOW)
    path = tmp_path / "guard.json"
    record = GuardRecord(path, journal)
    record.keep(seen(10_000.0))
    written = path.stat().st_mtime_ns
    sold, taken = deal(1, SELL, -100.0), deal(2, BALANCE, -4_000.0)
    ledger = movement(START, 9_900.0, [sold]).ledger
    record.keep(replace(record.memory, ledger=ledger))
    assert (record.memory.ledger, path.stat().st_mtime_ns) == (ledger, written)
    again = GuardRecord(path, journal).memory
    assert again.ledger == START
    moved = movement(START, 5_900.0, [sold, taken])
    assert (moved.amount, moved.explained) == (-4_000.0, True)
    assert not take_in(TRAILING, again, Figures(5_900, 5_900), NOW + 9, moved).trips
    journal.close()
