"""Writers are let through in the order in which they came."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from control_plane.db import engine
from control_plane.db.turns import Turns
from control_plane.errors import UnavailableError
from tests.unit.control_plane.world import World


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def waiting(turns: Turns) -> int:
    return len(turns._waiting)


def test_who_came_first_goes_first() -> None:
    turns, order = Turns(), list[int]()

    def go(number: int) -> None:
        assert turns.take(20)
        order.append(number)
        turns.give()

    assert turns.take(0)
    threads = [threading.Thread(target=go, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads):
        thread.start()
        until(lambda expected=number + 1: waiting(turns) == expected)  # type: ignore[misc]  # a bound default
    turns.give()
    for thread in threads:
        thread.join(20)
    assert order == [0, 1, 2, 3, 4]
    assert turns.take(0)


def test_who_gave_up_is_passed_over() -> None:
    turns = Turns()
    assert turns.take(0)
    assert not turns.take(0)
    turns.give()
    assert turns.take(0)


def test_a_writer_that_never_pauses_does_not_keep_another_waiting(world: World) -> None:
    """SQLite's own waiting is a poll with growing pauses: it would find the moment between two writes by luck only."""
    database, order = world.farm.database, list[str]()
    turns = database._turns
    assert turns is not None

    def write(name: str) -> None:
        with database.write_as_system() as session:
            session.execute(text("SELECT 1"))
            order.append(name)

    patient = threading.Thread(target=write, args=("patient",))
    with database.write_as_system():
        patient.start()
        until(lambda: waiting(turns) == 1)
    for _ in range(20):
        write("busy")
    patient.join(20)
    assert order == ["patient"] + ["busy"] * 20


def test_a_writer_that_is_never_let_through_is_told_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    database = world.farm.database
    monkeypatch.setattr(engine, "_BUSY_SECONDS", 0.0)
    with (
        database.write_as_system(),
        pytest.raises(UnavailableError, match="busy") as raised,
        database.write_as_system(),
    ):
        pass
    assert (raised.value.code, raised.value.retryable) == ("database_busy", True)
    with database.write_as_system() as session:
        session.execute(text("SELECT 1"))


def test_the_next_one_comes_also_after_a_failed_write(world: World) -> None:
    database = world.farm.database
    with pytest.raises(ZeroDivisionError), database.write_as_system():
        raise ZeroDivisionError
    with database.write_as_system() as session:
        session.execute(text("SELECT 1"))


def test_slow_writes_are_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_WORTH_TELLING_SECONDS", 0.0)
    with capture_logs() as told, world.farm.database.write_as_system():
        pass
    assert [each["event"] for each in told] == ["slow_write"]
