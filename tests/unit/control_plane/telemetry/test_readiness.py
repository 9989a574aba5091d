"""Readiness tells the truth: about the database, its schema, the loops and the outbox, with reasons for few."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, text

from control_plane.app import create_operations_app
from control_plane.jobs.model import Job
from control_plane.jobs.state import JobState
from control_plane.loops import Loop
from control_plane.telemetry.readiness import OUTBOX_PATIENCE, LoopRounds, Readiness, late_loops, stuck_outbox
from tests.unit.control_plane.world import START, InProcess, World, browser


class Seconds:
    """A clock that only a test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def look(world: World, *loops: Loop) -> dict[str, str]:
    return Readiness(world.farm.database, world.clock, loops).verdict().problems


def queue_job(world: World, state: JobState = JobState.QUEUED) -> None:
    job = Job(
        id="job_1", kind="place_terminal", subject_id="ter_1", state=state, attempts=0, request_id="", last_error=""
    )
    job.run_at = job.created_at = world.clock.now()
    with world.farm.database.write_as_system() as session:
        session.add(job)


def test_a_farm_that_works_is_ready(world: World) -> None:
    assert look(world) == {}


def test_what_is_shared_no_more_is_told_and_takes_no_process_out_of_service(world: World) -> None:
    """With Redis away from all of them, nobody would be left."""
    told = {"limits": lambda: "each counts by itself", "bus": lambda: ""}
    verdict = Readiness(world.farm.database, world.clock, (), warnings=told).verdict()
    assert verdict.ready
    assert verdict.warnings == {"limits": "each counts by itself"}


def test_a_database_that_takes_no_writes_is_noticed_although_it_can_be_read(world: World) -> None:
    engine = world.farm.database.engine
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only = ON"))
    engine.dispose()
    assert look(world) == {"database": "cannot be written: OperationalError"}


def test_a_schema_of_another_version_is_noticed(world: World) -> None:
    with world.farm.database.write_as_system() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0002'"))
    assert look(world)["migrations"].startswith("the schema is 0002, this process is made for ")


def test_a_job_that_nobody_carries_out_is_noticed_in_time(world: World) -> None:
    queue_job(world)
    world.clock.advance(seconds=OUTBOX_PATIENCE.total_seconds())
    assert look(world) == {}
    world.clock.advance(seconds=1)
    assert look(world) == {"outbox": "a job waits for 301 s"}


@pytest.mark.parametrize("state", [JobState.DONE, JobState.DEAD])
def test_jobs_that_wait_for_nothing_do_not_count(world: World, state: JobState) -> None:
    queue_job(world, state)
    world.clock.advance(days=1)
    assert look(world) == {}


def test_a_job_that_is_due_later_is_not_stuck() -> None:
    assert stuck_outbox(START + timedelta(minutes=1), START) == ""
    assert stuck_outbox(None, START) == ""


@given(st.floats(0.1, 1000), st.floats(0, 10_000))
def test_a_loop_is_late_after_three_rounds_and_its_patience(every: float, age: float) -> None:
    late = late_loops([LoopRounds("placement", every, 30.0, 0.0)], age)
    assert (late != "") == (age > 3 * every + 30)


def test_only_loops_that_were_started_here_are_judged(world: World) -> None:
    idle = Loop("placement", 5.0, lambda: None)
    idle.round_ended_at = None
    assert look(world, idle) == {}
    idle.round_ended_at = -1000.0
    assert look(world, idle)["loops"].startswith("placement for ")


def test_a_round_that_fails_is_no_round() -> None:
    seen: list[float | None] = []
    third = threading.Event()

    def fail() -> None:
        seen.append(loop.round_ended_at)
        if len(seen) == 3:
            third.set()
        raise RuntimeError

    loop = Loop("placement", 0.0, fail)
    loop.start()
    assert third.wait(10)
    loop.stop(10)
    assert len(set(seen)) == 1


def test_to_be_writable_is_to_have_been_written(world: World) -> None:
    with closing(sqlite3.connect(world.data / "farm.sqlite3")) as somebody_else:
        (before,) = somebody_else.execute("PRAGMA data_version").fetchone()
        assert look(world) == {}
        (after,) = somebody_else.execute("PRAGMA data_version").fetchone()
    assert after != before


def test_who_asks_often_is_given_the_same_answer(world: World) -> None:
    seconds = Seconds()
    readiness = Readiness(world.farm.database, world.clock, (), seconds)
    assert readiness.verdict().ready
    queue_job(world)
    world.clock.advance(hours=1)
    assert readiness.verdict().ready
    seconds.now += 2
    assert not readiness.verdict().ready


def test_everybody_learns_whether_and_operators_learn_why(world: World) -> None:
    queue_job(world)
    world.clock.advance(hours=1)
    public = browser(world.farm).get("/readyz")
    assert (public.status_code, public.json()) == (503, {"status": "not_ready"})
    with InProcess(create_operations_app(world.farm)).client() as operations:
        answer = operations.get("/readyz")
        assert (answer.status_code, answer.json()["problems"]) == (503, {"outbox": "a job waits for 3600 s"})
        assert operations.get("/healthz").json() == {"status": "ok"}
