"""The two sets of parts that a farm may run on, so that the same tests run on both.

Embedded: SQLite, jobs and live updates in this process, files in a folder. Distributed: a real Postgres, a real Redis,
a Celery worker that carries the jobs out, and a bucket. The servers run for the whole run; each test gets a database,
an empty Redis and a folder of the bucket of its own. What the machine lacks is a reason to skip.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.app.trace import setup_worker_optimizations
from celery.signals import worker_ready
from sqlalchemy import func, select

from control_plane.clock import Clock
from control_plane.container import Farm
from control_plane.jobs.celery import CeleryExecutor, celery_app, serve_jobs
from control_plane.jobs.model import Job
from control_plane.jobs.state import ANNOUNCED_AGAIN_AFTER, JobState
from tests.canaries.plugin import WATCH
from tests.canaries.watch import RedisTap
from tests.postgres import APPLICATION, Server
from tests.redis_server import RedisServer, redis_executable, wait_until
from tests.unit.control_plane.world import World, build_world

EMBEDDED, DISTRIBUTED = "embedded", "distributed"
BOTH = (EMBEDDED, DISTRIBUTED)
_BUCKET = "farm"


@dataclass(frozen=True)
class Deployment:
    """What a farm is told about the servers it uses; nothing when it is embedded."""

    settings: Mapping[str, str] = field(default_factory=dict)
    crew: Crew | None = None

    @contextmanager
    def world(self, data: Path, **more: Any) -> Iterator[World]:
        """A control plane, whose jobs are done when a round of its loops is."""
        made = build_world(data, **self.settings, **more)
        with ExitStack() as ends:
            ends.callback(made.farm.stop)
            if self.crew is not None:
                ends.enter_context(self.crew.serving(made.farm))
                made.carry_out_jobs = partial(self.crew.carry_out, made.farm)
            yield made

    @property
    def distributed(self) -> bool:
        return bool(self.settings)

    @property
    def environment(self) -> dict[str, str]:
        """The same for a process."""
        return {f"MT5FARM_{name.upper()}": value for name, value in self.settings.items()}


class Worker:
    """A Celery worker in a thread of this process, as `mt5farm worker` runs one in its own."""

    def __init__(self, app: Celery, concurrency: int = 4) -> None:
        with warnings.catch_warnings():
            # Machines that build and test run everything as root, which Celery warns of.
            warnings.simplefilter("ignore")
            self._worker = app.Worker(
                pool="threads",
                concurrency=concurrency,
                loglevel="ERROR",
                without_gossip=True,
                without_mingle=True,
                use_eventloop=False,  # there is one in a process, and the first worker that ends would end it for all
            )
        ready = threading.Event()
        listener = partial(_set, ready)
        worker_ready.connect(listener, weak=False)
        self._thread = threading.Thread(target=self._worker.start, daemon=True)
        self._thread.start()
        assert ready.wait(20), "the worker is ready"
        worker_ready.disconnect(listener)
        # Celery keeps the tasks of one worker of a process for all of them: from now on this one's.
        setup_worker_optimizations(app)

    def stop(self) -> None:
        self._worker.stop()
        self._thread.join(10)


def _set(ready: threading.Event, **_: object) -> None:
    ready.set()


class Crew:
    """A worker for a whole run, which carries out the jobs of the farm that a test has just now."""

    def __init__(self, redis_url: str) -> None:
        self._farm: Farm | None = None
        self._counts = threading.Lock()
        self._active = self._total = 0
        self._app = celery_app(redis_url)
        # A worker that may hold no second message looks for one only once a second without its event loop.
        self._app.conf.worker_prefetch_multiplier = 0
        serve_jobs(self._app, self._run)
        self._worker = Worker(self._app, concurrency=1)

    def stop(self) -> None:
        self._worker.stop()
        self._app.close()

    @contextmanager
    def serving(self, farm: Farm) -> Iterator[None]:
        # Another test may have had a worker since.
        setup_worker_optimizations(self._app)
        self._farm = farm
        try:
            yield
        finally:
            self._farm = None
            wait_until(lambda: self._active == 0)

    def carry_out(self, farm: Farm) -> None:
        """Return when nothing is due any more, as after a round of the jobs in the farm's own process."""
        announce = next(loop for loop in farm.loops if loop.name == "jobs").step
        # Who hears nothing of a job is told again after half a minute of the farm's clock, which stands still here.
        again = CeleryExecutor(self._app, farm.database, _Later(farm.clock))
        for seconds in (5.0, 10.0):
            try:
                wait_until(lambda: self._nothing_due(farm, announce), seconds)
            except TimeoutError:
                again.work()
        wait_until(lambda: self._nothing_due(farm, announce))

    def _nothing_due(self, farm: Farm, announce: Callable[[], None]) -> bool:
        """A job that is begun is not due; so nothing may have been begun between the two looks at what goes on."""
        total, active = self._total, self._active
        with farm.database.read_as_system() as session:
            due = select(func.count()).where(Job.state == JobState.QUEUED, Job.run_at <= farm.clock.now())
            if session.scalar(due.select_from(Job)):
                announce()
                return False
        return active == 0 and total == self._total

    def _run(self, job_id: str) -> None:
        farm = self._farm
        with self._counts:
            self._active += 1
            self._total += 1
        try:
            if farm is not None:
                farm.job_runner.run(job_id)
        finally:
            with self._counts:
                self._active -= 1


@dataclass(frozen=True)
class _Later:
    """A clock that is ahead of another one, by as much as a job waits until it is announced again."""

    clock: Clock

    def now(self) -> datetime:
        return self.clock.now() + ANNOUNCED_AGAIN_AFTER


@dataclass(frozen=True)
class Servers:
    """All that a distributed farm needs."""

    postgres: Server
    redis: RedisServer
    crew: Crew
    tap: RedisTap
    bucket: str
    """Address of the S3 server."""
    folders: Iterator[int] = field(default_factory=lambda: count(1))

    @contextmanager
    def deployment(self, template: str | None = None) -> Iterator[Deployment]:
        """A farm's own place on the servers; its database is a copy of one, or at the newest revision and empty."""
        self.redis.flush()
        database = self.postgres.migrated_database() if template is None else self.postgres.copy_of(template)
        try:
            yield Deployment(
                {
                    "database_url": self.postgres.url(APPLICATION, database),
                    "redis_url": self.redis.url,
                    "files_url": f"s3://{_BUCKET}/{next(self.folders)}",
                    "files_endpoint": self.bucket,
                },
                self.crew,
            )
        finally:
            self.tap.look()
            self.postgres.drop(database)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What is marked `both_databases` runs on both sets of parts, or on those that the mark names."""
    marker = metafunc.definition.get_closest_marker("both_databases")
    if marker and "deployment_kind" in metafunc.fixturenames:
        metafunc.parametrize("deployment_kind", marker.args or BOTH, indirect=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many of the tests that run on both sets of parts passed on each."""
    passed = [
        report.nodeid.partition("[")[2].partition("]")[0].split("-") for report in terminalreporter.getreports("passed")
    ]
    on = {kind: sum(kind in each for each in passed) for kind in BOTH}
    if any(on.values()):
        terminalreporter.write_line(
            f"the same tests on both: {on[EMBEDDED]} on SQLite, {on[DISTRIBUTED]} on Postgres + Redis + Celery"
        )


@pytest.fixture
def deployment_kind(request: pytest.FixtureRequest) -> str:
    kind: str = getattr(request, "param", EMBEDDED)
    return kind


@pytest.fixture
def deployment(deployment_kind: str, request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """For a farm that has never been started."""
    if deployment_kind == EMBEDDED:
        yield Deployment()
        return
    servers: Servers = request.getfixturevalue("servers")
    with servers.deployment() as made:
        yield made


@pytest.fixture(scope="session")
def servers(postgres_server: Server, bucket_server: str, pytestconfig: pytest.Config) -> Iterator[Servers]:
    folder = tempfile.mkdtemp(prefix="m5", dir="/tmp")
    redis = RedisServer(redis_executable(), Path(folder))
    redis.start()
    crew, tap = Crew(redis.url), RedisTap(redis.url, pytestconfig.stash[WATCH])
    yield Servers(postgres_server, redis, crew, tap, bucket_server)
    tap.close()
    crew.stop()
    redis.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[str]:
    """Address of a stand-in for S3 with one empty bucket."""
    pytest.importorskip("moto", reason="needs the package moto")
    server_module, boto3 = importlib.import_module("moto.server"), importlib.import_module("boto3")
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server: Any = server_module.ThreadedMotoServer(port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=_BUCKET)
        yield endpoint
        server.stop()
