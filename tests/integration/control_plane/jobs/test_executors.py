"""Both executors keep one contract: what is committed is carried out, retried, given up and re-driven all the same."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from celery import Celery
from sqlalchemy import text

from control_plane.audit.service import Audit
from control_plane.audit.signing import HeadSigner
from control_plane.clock import SystemClock
from control_plane.config import Settings
from control_plane.db.engine import Database
from control_plane.identity.model import Tenant
from control_plane.jobs import repository
from control_plane.jobs.celery import CeleryExecutor, celery_app, serve_jobs
from control_plane.jobs.in_process import InProcessExecutor
from control_plane.jobs.model import Job
from control_plane.jobs.port import Executor
from control_plane.jobs.runner import JobRunner
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import ANNOUNCED_AGAIN_AFTER, CLAIM, MOST_ATTEMPTS, JobKind, JobState
from control_plane.loops import Loop
from control_plane.resources import open_database
from control_plane.vault.key_file import KeyFile
from control_plane.vault.service import Vault
from tests.deployments import Deployment, Worker
from tests.redis_server import RedisServer, wait_until

# Machines that build and test run everything as root.
pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.filterwarnings("ignore::celery.exceptions.SecurityWarning"),
]
PLACE = JobKind.PLACE_TERMINAL


class MovedClock:
    """The real time, moved on by as much as a test says: messages in a queue know no other clock."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, span: timedelta) -> None:
        self._ahead += span


class Work:
    """The handler: counts what it is asked to do, and fails or dies as a test wants."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.fails: Callable[[str], bool] = lambda _subject: False
        self._lock = threading.Lock()

    def __call__(self, subject_id: str) -> None:
        with self._lock:
            self.done[subject_id] += 1
        if self.fails(subject_id):
            raise RuntimeError


class Stage:
    """An outbox with its database, and the loop that any control plane runs over it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.clock = MovedClock()
        self.work = Work()
        with database.write_as_system() as session:
            signer = HeadSigner.load_or_create(session, Vault(KeyFile.create(folder / "master.key"), SystemClock()))
            session.add(Tenant(id="ten_1", kind="operator", name="operator", created_at=self.clock.now()))
        self.outbox = Outbox(Audit(signer, self.clock), self.clock, lambda: self.loop.wake())  # noqa: PLW0108
        self.runner = JobRunner(database, self.clock, {PLACE: self.work})
        self.loop = Loop("jobs", 0.1, lambda: None)

    def run(self, executor: Executor) -> None:
        self.loop = Loop("jobs", 0.1, executor.work)
        self.loop.start()

    def put(self, *subjects: str) -> None:
        with self.database.write_as_system() as session:
            for subject in subjects:
                self.outbox.put(session, PLACE, subject)

    def jobs(self) -> dict[str, Job]:
        with self.database.read_as_system() as session:
            return {job.subject_id: job for job in session.query(Job)}

    def in_state(self, state: JobState) -> set[str]:
        return {subject for subject, job in self.jobs().items() if job.state == state}

    def wait_for(self, state: JobState, *subjects: str) -> None:
        """For so long that who has not heard of a job is told of it again."""
        wait_until(lambda: self.in_state(state) >= set(subjects), 2 * ANNOUNCED_AGAIN_AFTER.total_seconds())


@contextmanager
def raised(folder: Path, **settings: str) -> Iterator[Stage]:
    database = open_database(Settings.model_validate({"data": folder / "farm", **settings}))
    made = Stage(database, folder)
    try:
        yield made
    finally:
        made.loop.stop(5)
        database.close()


@pytest.fixture
def running(deployment: Deployment, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Jobs are carried out by the loop itself, or by a Celery worker that it tells of them."""
    with raised(tmp_path, **deployment.settings) as stage:
        if not deployment.distributed:
            stage.run(InProcessExecutor(stage.runner))
            yield stage
            return
        app = celery_app(request.getfixturevalue("redis_server").url)
        serve_jobs(app, stage.runner.run)
        worker = Worker(app)
        stage.run(CeleryExecutor(app, stage.database, stage.clock))
        yield stage
        stage.loop.stop(5)
        worker.stop()
        app.close()


def test_what_is_committed_is_carried_out_once(running: Stage) -> None:
    subjects = [f"ter_{number}" for number in range(60)]
    running.put(*subjects)
    running.wait_for(JobState.DONE, *subjects)
    assert running.work.done == Counter(subjects)


def test_what_is_rolled_back_is_never_carried_out(running: Stage) -> None:
    def fail() -> None:
        with running.database.write_as_system() as session:
            running.outbox.put(session, PLACE, "ter_never")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    running.put("ter_1")
    running.wait_for(JobState.DONE, "ter_1")
    assert running.work.done == Counter(["ter_1"])


def has_failed(stage: Stage, times: int) -> bool:
    """The last of so many attempts has been written down: until then the job is due when its claim ends."""
    job = stage.jobs()["ter_bad"]
    return job.attempts == times and job.run_at - stage.clock.now() <= timedelta(seconds=2**times)


def test_a_failing_job_is_tried_again_after_a_pause_and_others_go_on(running: Stage) -> None:
    running.work.fails = lambda subject: subject == "ter_bad" and running.work.done[subject] < 3
    running.put("ter_bad", "ter_good")
    running.wait_for(JobState.DONE, "ter_good")
    for attempts in (1, 2):
        wait_until(partial(has_failed, running, attempts))
        running.clock.advance(timedelta(seconds=2**attempts))
    running.wait_for(JobState.DONE, "ter_bad")
    assert running.work.done == Counter({"ter_bad": 3, "ter_good": 1})


def test_it_is_given_up_after_twenty_attempts_and_can_be_re_driven(running: Stage) -> None:
    running.work.fails = lambda _subject: True
    running.put("ter_bad")

    def given_up() -> bool:
        job = running.jobs()["ter_bad"]
        if job.last_error and job.run_at - running.clock.now() < timedelta(seconds=301):
            running.clock.advance(max(job.run_at - running.clock.now(), timedelta(0)))
        return job.state == JobState.DEAD

    wait_until(given_up, 60)
    dead = running.jobs()["ter_bad"]
    assert (dead.attempts, dead.last_error) == (MOST_ATTEMPTS, "RuntimeError")
    assert running.work.done["ter_bad"] == MOST_ATTEMPTS
    running.work.fails = lambda _subject: False
    with running.database.write_as_system() as session:
        operator = session.get(Tenant, "ten_1")
        assert operator is not None
        running.outbox.redrive(session, operator, dead.id, "ops", "the disk is back")
    running.wait_for(JobState.DONE, "ter_bad")
    assert running.jobs()["ter_bad"].attempts == 1


def test_a_job_whose_worker_died_is_carried_out_by_the_next(running: Stage) -> None:
    with running.database.write_as_system() as session:
        running.outbox.put(session, PLACE, "ter_1")
        session.flush()
        job = session.query(Job).one()
        job.attempts, job.run_at = 1, running.clock.now() + CLAIM  # as the dead one has left it
    running.put("ter_2")
    running.wait_for(JobState.DONE, "ter_2")
    assert running.in_state(JobState.QUEUED) == {"ter_1"}
    running.clock.advance(CLAIM)
    running.wait_for(JobState.DONE, "ter_1")
    assert running.jobs()["ter_1"].attempts == 2


class TestRedisIsNoTruth:
    """The queue is wiped, stops, or says everything twice: the rows remain, and each job ends once."""

    @pytest.fixture
    def stage(self, postgres_url: str, tmp_path: Path) -> Iterator[Stage]:
        with raised(tmp_path, database_url=postgres_url) as made:
            yield made

    @pytest.fixture
    def app(self, redis_server: RedisServer, stage: Stage) -> Iterator[Celery]:
        made = celery_app(redis_server.url)
        serve_jobs(made, stage.runner.run)
        yield made
        stage.loop.stop(5)
        made.close()

    def test_flushall_in_the_middle_loses_nothing(self, redis_server: RedisServer, stage: Stage, app: Celery) -> None:
        subjects = [f"ter_{number}" for number in range(40)]
        stage.put(*subjects)
        stage.run(CeleryExecutor(app, stage.database, stage.clock))
        wait_until(lambda: redis_server.length("mt5farm") == len(subjects))
        redis_server.flush()
        worker = Worker(app)
        stage.put("ter_later")
        stage.wait_for(JobState.DONE, "ter_later")
        assert stage.in_state(JobState.QUEUED) == set(subjects)
        stage.clock.advance(ANNOUNCED_AGAIN_AFTER)
        stage.wait_for(JobState.DONE, *subjects)
        worker.stop()
        assert stage.work.done == Counter([*subjects, "ter_later"])

    def test_a_redis_that_is_away_holds_jobs_up_and_loses_none(
        self, redis_server: RedisServer, stage: Stage, app: Celery
    ) -> None:
        redis_server.stop()
        stage.run(CeleryExecutor(app, stage.database, stage.clock))
        stage.put("ter_1")
        assert stage.in_state(JobState.QUEUED) == {"ter_1"}
        redis_server.start()
        worker = Worker(app)
        stage.wait_for(JobState.DONE, "ter_1")
        worker.stop()

    def test_messages_that_come_twice_are_acted_on_once(
        self, redis_server: RedisServer, stage: Stage, app: Celery
    ) -> None:
        subjects = [f"ter_{number}" for number in range(20)]
        stage.put(*subjects)
        executor = CeleryExecutor(app, stage.database, stage.clock)
        for _ in range(3):
            executor.work()
            stage.clock.advance(ANNOUNCED_AGAIN_AFTER)
        assert redis_server.length("mt5farm") == 60
        worker = Worker(app)
        stage.wait_for(JobState.DONE, *subjects)
        wait_until(lambda: redis_server.length("mt5farm") == 0)
        worker.stop()
        assert stage.work.done == Counter(subjects)

    def test_a_message_holds_nothing_but_the_id(self, redis_server: RedisServer, stage: Stage, app: Celery) -> None:
        stage.put("ter_1")
        CeleryExecutor(app, stage.database, stage.clock).work()
        message = json.loads(redis_server.first("mt5farm"))
        arguments, named, _ = json.loads(base64.b64decode(message["body"]))
        assert (arguments, named) == ([stage.jobs()["ter_1"].id], {})
        assert "ter_1" not in str(message["headers"])

    def test_a_worker_that_is_told_before_the_telling_is_written_down_waits_for_that(self, stage: Stage) -> None:
        """Else the message would be gone, and the job left until the next one, half a minute later."""
        stage.put("ter_1")
        job = stage.jobs()["ter_1"].id
        with stage.database.write_as_system() as session:
            repository.mark_announced(session, [job], stage.clock.now())
            worker = threading.Thread(target=stage.runner.run, args=(job,))
            worker.start()
            wait_until(lambda: not worker.is_alive() or somebody_waits(stage.database))
        worker.join(10)
        assert stage.in_state(JobState.DONE) == {"ter_1"}


def somebody_waits(database: Database) -> bool:
    """For a row that another transaction holds."""
    with database.read_as_system() as session:
        return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))
