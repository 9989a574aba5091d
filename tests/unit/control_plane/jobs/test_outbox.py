"""The outbox: a job is a row, tried again with growing pauses, and never lost."""

from __future__ import annotations

import pytest
import structlog

from control_plane.jobs.model import Job
from control_plane.jobs.runner import Handler, JobRunner
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import MOST_ATTEMPTS, JobKind
from control_plane.logs import present_request
from tests.unit.control_plane.world import World

pytestmark = pytest.mark.both_databases

PLACE = JobKind.PLACE_TERMINAL


def put(world: World, wake: list[str]) -> None:
    with world.farm.database.write_as_system() as session:
        Outbox(world.farm.audit, world.clock, lambda: wake.append("woken")).put(session, PLACE, "ter_1")
        assert wake == []
    assert wake == ["woken"]


def run_next(world: World, handler: Handler) -> bool:
    return JobRunner(world.farm.database, world.clock, {PLACE: handler}).run_next()


def only_job(world: World) -> Job:
    with world.farm.database.read_as_system() as session:
        return session.query(Job).one()


def test_a_job_runs_once(world: World) -> None:
    put(world, [])
    ran: list[str] = []
    assert run_next(world, ran.append)
    assert not run_next(world, ran.append)
    assert (ran, only_job(world).state) == (["ter_1"], "done")


def test_a_job_is_carried_out_under_the_id_of_the_request_that_has_set_it_off(world: World) -> None:
    with structlog.contextvars.bound_contextvars(request_id="web_0123456789"):
        put(world, [])
    assert only_job(world).request_id == "web_0123456789"
    seen: list[str] = []
    assert run_next(world, lambda _: seen.append(present_request()))
    assert (seen, present_request()) == (["web_0123456789"], "")


def test_a_job_of_the_farm_itself_has_no_request(world: World) -> None:
    put(world, [])
    assert only_job(world).request_id == ""


def test_a_fact_that_is_rolled_back_takes_its_job_with_it(world: World) -> None:
    woken: list[str] = []

    def fail() -> None:
        with world.farm.database.write_as_system() as session:
            Outbox(world.farm.audit, world.clock, lambda: woken.append("woken")).put(session, PLACE, "ter_1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with world.farm.database.read_as_system() as session:
        assert session.query(Job).count() == 0
    assert woken == []


def test_a_failing_job_waits_longer_each_time_and_is_given_up_in_the_end(world: World) -> None:
    put(world, [])

    def fail(_: str) -> None:
        raise RuntimeError("no")

    pauses = []
    for _ in range(MOST_ATTEMPTS - 1):
        assert run_next(world, fail)
        pause = (only_job(world).run_at - world.clock.now()).total_seconds()
        assert not run_next(world, fail)
        pauses.append(pause)
        world.clock.advance(seconds=pause)
    assert pauses == sorted(pauses)
    run_next(world, fail)
    job = only_job(world)
    assert (job.state, job.attempts, job.last_error) == ("dead", MOST_ATTEMPTS, "RuntimeError")


def test_a_job_whose_worker_died_runs_again(world: World) -> None:
    put(world, [])

    def die(_: str) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        run_next(world, die)
    ran: list[str] = []
    assert not run_next(world, ran.append)
    world.clock.advance(seconds=61)
    assert run_next(world, ran.append)
    assert ran == ["ter_1"]


def test_a_worker_that_took_too_long_does_not_undo_what_the_next_one_did(world: World) -> None:
    put(world, [])

    def overtaken(_: str) -> None:
        world.clock.advance(seconds=61)
        assert run_next(world, lambda _: None)
        raise RuntimeError

    assert run_next(world, overtaken)
    job = only_job(world)
    assert (job.state, job.attempts, job.last_error) == ("done", 2, "")
