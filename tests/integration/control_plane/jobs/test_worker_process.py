"""`mt5farm worker` in a process of its own, with a control plane that hands its jobs out through a real Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from control_plane.clock import SystemClock
from control_plane.jobs.model import Job
from control_plane.jobs.state import JobState
from tests.redis_server import RedisServer, wait_until
from tests.unit.control_plane.world import World, build_world

JOBS = 12


@pytest.fixture
def world(tmp_path: Path, redis_server: RedisServer, postgres_url: str) -> Iterator[World]:
    addresses = {"redis_url": redis_server.url, "database_url": postgres_url}
    made = build_world(tmp_path / "farm", **addresses)
    made.farm.stop()
    # The worker has no other clock than the machine's.
    made = build_world(tmp_path / "farm", clock=SystemClock(), **addresses)
    yield made
    made.farm.stop()


@contextmanager
def worker(world: World) -> Iterator[subprocess.Popen[bytes]]:
    settings = world.farm.settings
    command = [sys.executable, "-m", "control_plane.cli", "worker", "--data", str(world.data), "--threads", "2"]
    addresses = {"MT5FARM_REDIS_URL": settings.redis_url or "", "MT5FARM_DATABASE_URL": settings.database_url or ""}
    process = subprocess.Popen(command, env={**os.environ, **addresses}, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def states(world: World) -> list[str]:
    with world.farm.database.read_as_system() as session:
        return [job.state for job in session.query(Job)]


def hand_out(world: World) -> None:
    next(loop for loop in world.farm.loops if loop.name == "jobs").step()


def test_what_the_api_puts_the_worker_carries_out_also_after_flushall(world: World, redis_server: RedisServer) -> None:
    trader = world.trader()
    for login in range(5001, 5001 + JOBS):
        trader.connect(login)
    hand_out(world)
    count = len(states(world))
    assert count > JOBS, "the mail of the sign-up as well"
    wait_until(lambda: redis_server.length("mt5farm") == count)
    redis_server.flush()
    with world.farm.database.write_as_system() as session:
        for job in session.query(Job):
            assert job.announced_at is not None
            job.announced_at = job.announced_at.replace(year=2020)  # half a minute has passed, say
    with worker(world) as process:
        hand_out(world)
        wait_until(lambda: states(world) == [JobState.DONE] * count, 60)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: process.poll() is not None, 30)
        assert process.returncode == 0


def test_a_worker_without_redis_says_what_is_missing(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MT5FARM_REDIS_URL"}
    command = [sys.executable, "-m", "control_plane.cli", "worker", "--data", str(tmp_path / "farm")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "MT5FARM_REDIS_URL" in ended.stderr
