"""Background loops, and what is told of one that stands still."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from structlog.testing import capture_logs

from control_plane.app import create_agent_app, create_app, create_operations_app
from control_plane.loops import Loop, LoopWatch
from tests.unit.control_plane.world import ORIGIN, InProcess, World


class Rounds:
    """Counts its rounds; a round stands still while `held`."""

    def __init__(self) -> None:
        self.begun = 0
        self.free = threading.Event()
        self.free.set()
        self.error: Exception | None = None

    def __call__(self) -> None:
        self.begun += 1
        self.stand_here()
        if self.error is not None:
            raise self.error

    def stand_here(self) -> None:
        assert self.free.wait(60)


class Stopwatch:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def rounds() -> Rounds:
    return Rounds()


@pytest.fixture
def clock() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def loop(rounds: Rounds, clock: Stopwatch) -> Iterator[Loop]:
    made = Loop("errand", 1000.0, rounds, patience_seconds=60.0, now=clock)
    made.start()
    until(lambda: rounds.begun == 1)
    yield made
    rounds.free.set()
    made.stop(20)


def held_up(loop: Loop, rounds: Rounds) -> None:
    begun = rounds.begun
    rounds.free.clear()
    loop.wake()
    until(lambda: rounds.begun > begun)


def goes_on(loop: Loop, rounds: Rounds) -> None:
    """The round ends, and another one begins and ends."""
    begun = rounds.begun
    rounds.free.set()

    def began_again() -> bool:
        loop.wake()
        return rounds.begun > begun

    until(began_again)


def test_an_error_does_not_end_a_loop(loop: Loop, rounds: Rounds) -> None:
    rounds.error = ZeroDivisionError()
    goes_on(loop, rounds)
    goes_on(loop, rounds)


def test_a_loop_that_rests_is_in_time_and_one_that_never_started_as_well(
    loop: Loop, rounds: Rounds, clock: Stopwatch
) -> None:
    clock.seconds = 1060.0
    assert loop.late_by() == 0
    assert Loop("other", 1.0, rounds).late_by() == 0


def test_a_round_that_does_not_end_is_late(loop: Loop, rounds: Rounds, clock: Stopwatch) -> None:
    held_up(loop, rounds)
    clock.seconds = 1070.0
    assert loop.late_by() == 10.0
    assert "stand_here" in loop.stands_at()
    goes_on(loop, rounds)
    assert loop.late_by() == 0


def test_after_a_long_round_a_loop_with_a_share_rests_in_proportion(rounds: Rounds, clock: Stopwatch) -> None:
    loop = Loop("errand", 5.0, rounds, patience_seconds=60.0, most_share=0.1, now=clock)
    rounds.free.clear()
    loop.start()
    until(lambda: rounds.begun == 1)
    clock.seconds = 20.0
    rounds.free.set()
    until(lambda: loop.round_ended_at == 20.0)
    clock.seconds = 20.0 + 180.0 + 60.0
    until(lambda: loop.late_by() == 0)
    clock.seconds += 1.0
    assert loop.late_by() == 1.0
    assert rounds.begun == 1
    loop.stop(20)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_whose_thread_has_died_is_late(clock: Stopwatch) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    loop = Loop("errand", 1.0, die, now=clock)
    loop.start()
    thread = loop._thread
    assert thread is not None
    thread.join(20)
    clock.seconds = 62.0
    assert loop.late_by() == 1.0
    assert loop.stands_at() == ""


def test_a_loop_that_stands_still_is_told_once_and_when_it_goes_on(
    loop: Loop, rounds: Rounds, clock: Stopwatch
) -> None:
    watch = LoopWatch([loop])
    with capture_logs() as told:
        watch.run_once()
        held_up(loop, rounds)
        clock.seconds = 1070.0
        watch.run_once()
        watch.run_once()
        goes_on(loop, rounds)
        watch.run_once()
        watch.run_once()
    assert [(each["event"], each["loop"]) for each in told] == [
        ("loop_stands_still", "errand"),
        ("loop_goes_on", "errand"),
    ]
    assert told[0]["late_by_seconds"] == 10
    assert "stand_here" in told[0]["at"]


def test_readiness_tells_of_a_loop_that_stands_still_and_operators_which(world: World) -> None:
    leases = next(loop for loop in world.farm.loops if loop.name == "node-leases")
    leases.round_ended_at = time.monotonic() - 1000
    for app, url in ((create_app(world.farm), ORIGIN), (create_agent_app(world.farm), "https://testserver")):
        http = httpx.Client(transport=InProcess(app), base_url=url)
        answer = http.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"status": "not_ready"})
        assert http.get("/healthz").status_code == 200
    problems = InProcess(create_operations_app(world.farm)).client().get("/readyz").json()["problems"]
    assert re.match(r"node-leases for 1\d{3} s", problems["loops"])
