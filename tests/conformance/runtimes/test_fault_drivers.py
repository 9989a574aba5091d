"""Runtimes as bad as they can be: the agent keeps its other terminals going, and never starts a second of one."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from node_agent.bridge import Bridge, Target
from node_agent.clock import as_datetime
from node_agent.collector import Collector
from node_agent.config import Timing
from node_agent.database import Database
from node_agent.executor import ExecutorParts
from node_agent.identity import make_keys
from node_agent.layout import DataLayout
from node_agent.monitor import MonitorParts
from node_agent.process import Children, Handle, Role, Slot, is_alive
from node_agent.protocol.messages import DesiredSnapshot, DesiredTerminal, Guard, Phase, Reason
from node_agent.protocol.sealing import Credentials, SealContext, seal
from node_agent.restarts import RestartPolicy
from node_agent.roster import Roster
from node_agent.runtimes.base import Capabilities, LaunchError, TerminalSpec, Usage, WorkerSeat
from node_agent.state import StateStore
from node_agent.supervisor import Supervisor
from node_agent.surroundings import Surroundings
from node_agent.worker import Modules

ONE, TWO = "ter_0000000000000001", "ter_0000000000000002"
TENANT, ACCOUNT = "ten_0000000000000001", "acc_0000000000000001"
BASE = 5.0


class GoodRuntime:
    """Terminals and workers that only sleep. The faults below change what they name."""

    name = "faulty"
    capabilities = Capabilities()

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self.victim = ONE
        self.calls: list[tuple[str, str]] = []
        self.released = threading.Event()

    def prepare(self, spec: TerminalSpec, credentials: Credentials) -> None:
        self.calls.append(("prepare", spec.terminal_id))

    def start(self, spec: TerminalSpec) -> Handle:
        self.calls.append(("start", spec.terminal_id))
        return self._sleeper(Slot(Role.TERMINAL, spec.terminal_id), spec, spec.fingerprint)

    def inspect(self, spec: TerminalSpec) -> Handle | None:
        return self.roster.running(Slot(Role.TERMINAL, spec.terminal_id))

    def stop(self, spec: TerminalSpec, grace: float) -> None:
        self.calls.append(("stop", spec.terminal_id))
        self.roster.stop(Slot(Role.TERMINAL, spec.terminal_id), grace)

    def destroy(self, spec: TerminalSpec) -> None:
        self.calls.append(("destroy", spec.terminal_id))

    def recover(self, specs: Sequence[TerminalSpec]) -> list[Handle]:
        return []

    def stats(self, spec: TerminalSpec) -> Usage | None:
        return None

    def forget_credentials(self, spec: TerminalSpec) -> None:
        self.calls.append(("forget", spec.terminal_id))

    def worker_seat(self, spec: TerminalSpec) -> WorkerSeat:
        return WorkerSeat("simulated", {})

    def start_worker(self, spec: TerminalSpec, fingerprint: str) -> Handle:
        return self._sleeper(Slot(Role.WORKER, spec.terminal_id), spec, fingerprint)

    def _sleeper(self, slot: Slot, spec: TerminalSpec, fingerprint: str) -> Handle:
        command = [sys.executable, "-S", "-c", "import time; time.sleep(120)"]
        return self.roster.start(slot, command, spec.layout.logs / "out", fingerprint)

    def count(self, verb: str, terminal_id: str = ONE) -> int:
        return self.calls.count((verb, terminal_id))


class SlowRuntime(GoodRuntime):
    """Takes its time to start one terminal."""

    def start(self, spec: TerminalSpec) -> Handle:
        if spec.terminal_id == self.victim:
            self.calls.append(("begin", spec.terminal_id))
            self.released.wait(30)
        return super().start(spec)


class NeverRuntime(SlowRuntime):
    """Never comes back from starting one, not even when the agent ends."""


class BadRuntime(GoodRuntime):
    """Cannot prepare one, and says so; or falls over it."""

    error: Exception = LaunchError(Reason.DISK_FULL, "No room.")

    def prepare(self, spec: TerminalSpec, credentials: Credentials) -> None:
        super().prepare(spec, credentials)
        if spec.terminal_id == self.victim:
            raise self.error


class FlakyRuntime(GoodRuntime):
    """Fails twice and works at the third time."""

    def start(self, spec: TerminalSpec) -> Handle:
        if spec.terminal_id == self.victim and self.count("begin") < 2:
            self.calls.append(("begin", spec.terminal_id))
            raise LaunchError(Reason.TEMPLATE_BROKEN, "Not this time.")
        return super().start(spec)


class ZombieRuntime(GoodRuntime):
    """Cannot end what it has started."""

    def stop(self, spec: TerminalSpec, grace: float) -> None:
        self.calls.append(("stop", spec.terminal_id))
        if spec.terminal_id == self.victim and not self.released.is_set():
            raise TimeoutError("it has not ended although it was killed")
        self.roster.stop(Slot(Role.TERMINAL, spec.terminal_id), grace)


class Node:
    """An agent's supervisor on a faulty runtime and a clock that stands still."""

    def __init__(self, folder: Path, kind: type[GoodRuntime]) -> None:
        self.layout = DataLayout.open(folder / "data")
        self.database = Database(self.layout.database)
        self.now = 1000.0
        state, self.keys = StateStore(self.database), make_keys()
        self.roster = Roster(state, Children(), self._clock)
        self.runtime = kind(self.roster)
        policy = RestartPolicy(settled=30, base=BASE, cap=300, window=900, limit=5)
        timing = Timing(tick=0.01, stop_grace=0.2, terminal_restart=policy)
        parts = ExecutorParts(
            layout=self.layout,
            roster=self.roster,
            state=state,
            runtimes={"faulty": self.runtime},
            keys=self.keys,
            modules=Modules(),
            timing=timing,
            connect=_nobody,
        )
        monitors = MonitorParts(_nobody, Collector(self.database, self._clock), self._clock, as_datetime, 3600.0)
        surroundings = Surroundings(
            keepers={},
            clock=self._clock,
            dated=as_datetime,
            lease_over=lambda: False,
            lease_fresh=lambda: True,
            short_of=frozenset,
            changed=lambda: None,
        )
        self.supervisor = Supervisor(parts, monitors, surroundings)
        self.supervisor.recover()

    def _clock(self) -> float:
        return self.now

    def want(self, *terminals: DesiredTerminal) -> None:
        self.supervisor.wish(DesiredSnapshot(generation=1, terminals=list(terminals)))

    def wish(self, terminal_id: str, **changes: Any) -> DesiredTerminal:
        context = SealContext(TENANT, ACCOUNT, terminal_id, 1)
        credentials = Credentials(login=7, password="p", server="Demo")
        values: dict[str, Any] = {
            "terminal_id": terminal_id,
            "account_id": ACCOUNT,
            "tenant_id": TENANT,
            "epoch": 1,
            "running": True,
            "runtime": "faulty",
            "login": 7,
            "server": "Demo",
            "credentials": seal(credentials, self.keys.sealing_public, context),
            "credentials_version": 1,
            "guard": Guard(),
        }
        return DesiredTerminal(**(values | changes))

    def running(self, terminal_id: str) -> Handle | None:
        return self.roster.running(Slot(Role.TERMINAL, terminal_id))

    def seen(self, terminal_id: str) -> tuple[Phase, Reason | None]:
        found = {each.terminal_id: each for each in self.supervisor.observed()}[terminal_id]
        return found.phase, found.reason

    @asynccontextmanager
    async def supervised(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.supervisor.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.supervisor.close()

    def clean_up(self) -> None:
        self.runtime.released.set()
        for role in (Role.WORKER, Role.TERMINAL):
            for owner in (ONE, TWO):
                self.roster.kill(Slot(role, owner))
        self.database.close()


def _nobody(target: Target) -> Bridge:
    raise ConnectionRefusedError(target.terminal_id)


async def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "not in time"
        await asyncio.sleep(0.01)


async def some_looks() -> None:
    """Long enough for a supervisor in a busy loop to show itself."""
    for _ in range(15):
        await asyncio.sleep(0.01)


@pytest.fixture
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path, request.param)
    yield made
    made.clean_up()


def on(kind: type[GoodRuntime]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("node", [kind], indirect=True, ids=[kind.__name__.removesuffix("Runtime").lower()])


@on(SlowRuntime)
def test_a_slow_start_holds_up_nobody_else_and_is_made_once(node: Node) -> None:
    async def scenario() -> None:
        node.want(node.wish(ONE), node.wish(TWO))
        async with node.supervised():
            await until(lambda: node.running(TWO))
            await some_looks()
            assert node.seen(ONE) == (Phase.PREPARING, None)
            node.runtime.released.set()
            await until(lambda: node.running(ONE))
            assert node.runtime.count("begin") == node.runtime.count("start") == 1

    asyncio.run(scenario())


@on(NeverRuntime)
def test_a_start_that_never_returns_costs_one_terminal_and_not_the_agent(node: Node) -> None:
    async def scenario() -> None:
        node.want(node.wish(ONE), node.wish(TWO))
        async with node.supervised():
            await until(lambda: node.running(TWO))
            node.want(node.wish(TWO, running=False))
            await until(lambda: node.running(TWO) is None)
            node.want(node.wish(ONE), node.wish(TWO))
            await until(lambda: node.running(TWO))
            assert node.runtime.count("begin") == 1, "one action at a time for a terminal"
            assert node.runtime.count("destroy") == 0, "and nothing is removed under its feet"
        assert not node.runtime.released.is_set(), "the agent has ended in spite of it"
        node.runtime.released.set()

    asyncio.run(scenario())


@on(BadRuntime)
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LaunchError(Reason.DISK_FULL, "No room."), Reason.DISK_FULL),
        (RuntimeError("a bug"), Reason.TEMPLATE_BROKEN),
        (OSError(28, "No space left on device"), Reason.DISK_FULL),
    ],
    ids=["says so", "falls over", "full disk"],
)
def test_a_bad_start_is_told_and_tried_again_only_after_a_while(node: Node, error: Exception, reason: Reason) -> None:
    cast(BadRuntime, node.runtime).error = error

    async def scenario() -> None:
        node.want(node.wish(ONE), node.wish(TWO))
        async with node.supervised():
            await until(lambda: node.running(TWO))
            await until(lambda: node.seen(ONE) == (Phase.BACKING_OFF, reason))
            await some_looks()
            assert node.runtime.count("prepare") == 1
            node.now += BASE + 0.1
            await until(lambda: node.runtime.count("prepare") == 2)
            await some_looks()
            assert node.runtime.count("prepare") == 2

    asyncio.run(scenario())


@on(FlakyRuntime)
def test_a_flaky_one_runs_in_the_end_and_leaves_no_credentials_behind(node: Node) -> None:
    async def scenario() -> None:
        node.want(node.wish(ONE))
        async with node.supervised():
            await until(lambda: node.runtime.count("forget") == 1)
            node.now += BASE + 0.1
            await until(lambda: node.runtime.count("forget") == 2)
            node.now += 4 * BASE + 0.1  # a broken template is tried ever more rarely
            await until(lambda: node.running(ONE))
            await some_looks()
            assert node.runtime.count("start") == 1
            assert node.seen(ONE)[0] is Phase.LAUNCHING, "what went wrong before is forgotten"

    asyncio.run(scenario())


@on(ZombieRuntime)
def test_a_zombie_keeps_its_place_until_it_is_dead(node: Node) -> None:
    async def scenario() -> None:
        node.want(node.wish(ONE), node.wish(TWO))
        async with node.supervised():
            await until(lambda: node.running(ONE) and node.running(TWO))
            first = node.running(ONE)
            assert first is not None
            node.want(node.wish(ONE, credentials_version=2), node.wish(TWO))
            await until(lambda: node.runtime.count("stop") >= 2)
            assert is_alive(first)
            assert node.runtime.count("start") == 1, "never two of one terminal"
            node.want(node.wish(TWO))
            await until(lambda: node.runtime.count("stop") >= 4)
            assert node.runtime.count("destroy") == 0, "its folder stays under it"
            assert node.running(TWO)
            node.runtime.released.set()
            await until(lambda: node.runtime.count("destroy") == 1)
            assert not is_alive(first)

    asyncio.run(scenario())
