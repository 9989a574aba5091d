"""How old a position can be, and when one that is not listed is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from control_plane.copying.sightings import GONE_AFTER, Sightings

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def watched(until: int, *tickets: int) -> Sightings:
    """Looked at once a second."""
    made = Sightings()
    for second in range(until + 1):
        made.look(tickets, at(second))
    return made


@pytest.mark.parametrize(("by_broker", "age"), [(0, 0), (1, 1), (900, 2)])
def test_what_was_not_there_before_is_no_older_than_the_look_that_missed_it(by_broker: int, age: int) -> None:
    seen = watched(10)
    seen.look([1], at(12))
    assert seen.age(1, timedelta(seconds=by_broker), at(12)) == timedelta(seconds=age)


def test_what_is_listed_for_long_is_old_even_when_no_quote_says_so() -> None:
    seen = watched(10)
    for second in range(11, 71):
        seen.look([1], at(second))
    assert seen.age(1, timedelta(0), at(70)) == timedelta(seconds=59)
    assert seen.age(1, timedelta(seconds=900), at(70)) == timedelta(seconds=60)


def test_a_terminal_that_listed_nothing_when_it_connected_makes_nothing_young() -> None:
    seen = Sightings()
    seen.look([], at(0))
    seen.look([1], at(1))
    assert seen.age(1, timedelta(hours=9), at(1)) == timedelta(hours=9)


def test_what_was_seen_before_a_terminal_connected_again_is_as_old_as_then() -> None:
    seen = watched(20, 1)
    seen.lost()
    seen.look([], at(30))
    seen.look([1, 2], at(31))
    assert seen.age(1, timedelta(0), at(31)) == timedelta(seconds=31)
    assert seen.age(2, timedelta(hours=9), at(31)) == timedelta(seconds=11), "at 20 it surely was not there"


def test_what_is_listed_is_all_after_a_while_of_looks_that_did_not_fail() -> None:
    seen = watched(4)
    assert not seen.is_steady(at(4))
    seen.look([], at(5))
    assert seen.is_steady(at(5))
    seen.lost()
    seen.look([], at(6))
    assert not seen.is_steady(at(6))


def test_what_is_missing_is_gone_after_a_while_of_looks() -> None:
    seen = watched(3, 1)
    for second in range(4, 9):
        seen.look([], at(second))
        assert not seen.is_gone(1, at(second))
    seen.look([], at(9))
    assert seen.is_gone(1, at(9))
    assert not seen.is_gone(2, at(9)), "nobody has missed it before this moment"


def test_a_look_that_fails_begins_the_waiting_anew() -> None:
    seen = watched(3, 1)
    seen.look([], at(4))
    seen.lost()
    seen.look([], at(60))
    assert not seen.is_gone(1, at(60))
    seen.look([], at(60) + GONE_AFTER)
    assert seen.is_gone(1, at(60) + GONE_AFTER)


def test_what_is_listed_again_was_never_gone() -> None:
    seen = watched(3, 1)
    seen.look([], at(4))
    seen.look([1], at(8))
    seen.look([], at(10))
    assert not seen.is_gone(1, at(10))
    assert not Sightings().is_gone(1, START)
