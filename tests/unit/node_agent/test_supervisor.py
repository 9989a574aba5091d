"""The supervisor's own bookkeeping, on a runtime that fails or dawdles as told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

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
from node_agent.pressure import Shortage
from node_agent.process import Children, Role, Slot
from node_agent.protocol.messages import DesiredSnapshot, DesiredTerminal, Phase, Reason
from node_agent.roster import Exit, Roster
from node_agent.runtimes.base import LaunchError, TerminalSpec
from node_agent.runtimes.simulated import SimulatedRuntime
from node_agent.state import StateStore
from node_agent.supervisor import Supervisor
from node_agent.surroundings import Surroundings
from node_agent.worker import Modules
from tests.unit.node_agent.wishes import ID, wish

NEVER = 3600.0


class Runtime(SimulatedRuntime):
    """Removes folders only when it may."""

    def __init__(self, roster: Roster) -> None:
        super().__init__(roster)
        self.may_destroy = threading.Event()
        self.destroying = threading.Event()
        self.disk_fails = False

    def destroy(self, spec: TerminalSpec) -> None:
        self.destroying.set()
        if self.disk_fails:
            raise LaunchError(Reason.DISK_FULL, "no")
        self.may_destroy.wait(10)
        super().destroy(spec)


class NoGateway:
    """Counts the looks at the node."""

    def __init__(self) -> None:
        self.ticks = 0

    def tick(self) -> None:
        self.ticks += 1

    def note_exit(self, ended: Exit) -> None:
        raise AssertionError(ended)


class Bench:
    """A node with one leftover terminal, whose supervisor looks again only when it is told to."""

    def __init__(self, folder: Path) -> None:
        layout = DataLayout.open(folder / "data")
        layout.terminal(ID).folder.mkdir(parents=True)
        self.database = Database(layout.database)
        state = StateStore(self.database)
        roster = Roster(state, Children(), lambda: 1000.0)
        self.runtime = Runtime(roster)
        self.gateway = NoGateway()
        self.changes = 0
        parts = ExecutorParts(
            layout=layout,
            roster=roster,
            state=state,
            runtimes={"simulated": self.runtime},
            keys=make_keys(),
            modules=Modules(),
            timing=Timing(tick=NEVER),
            connect=_nobody,
        )
        monitors = MonitorParts(_nobody, Collector(self.database, lambda: 1000.0), lambda: 1000.0, as_datetime, NEVER)
        surroundings = Surroundings(
            keepers={Slot(Role.GATEWAY): self.gateway},
            clock=lambda: 1000.0,
            dated=as_datetime,
            lease_over=lambda: self.lease_over,
            lease_fresh=lambda: True,
            short_of=lambda: self.short_of,
            changed=self._changed,
        )
        self.lease_over = False
        self.short_of: frozenset[Shortage] = frozenset()
        self.supervisor = Supervisor(parts, monitors, surroundings)
        self.supervisor.recover()

    def _changed(self) -> None:
        self.changes += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.supervisor.run())
        try:
            yield
        finally:
            task.cancel()
            self.runtime.may_destroy.set()
            await asyncio.gather(task, return_exceptions=True)
            await self.supervisor.close()

    def want(self, *terminals: DesiredTerminal) -> None:
        self.supervisor.wish(DesiredSnapshot(generation=1, terminals=list(terminals)))


def _nobody(target: Target) -> Bridge:
    raise ConnectionRefusedError(target.terminal_id)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not in time")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.database.close()


def test_what_fails_is_not_tried_again_at_once(bench: Bench) -> None:
    async def scenario() -> None:
        bench.runtime.disk_fails = True
        bench.want()
        async with bench.running():
            await until(lambda: bench.changes > 0)
            looks = bench.gateway.ticks
            for _ in range(20):
                await asyncio.sleep(0)
            assert bench.gateway.ticks == looks

    asyncio.run(scenario())


def test_a_terminal_that_comes_back_while_it_is_being_removed_is_reported(bench: Bench) -> None:
    async def scenario() -> None:
        bench.want()
        async with bench.running():
            await until(bench.runtime.destroying.is_set)
            bench.want(wish(epoch=5, running=False))
            bench.runtime.may_destroy.set()
            await until(lambda: [each.phase for each in bench.supervisor.observed()] == [Phase.STOPPED])
            assert [each.epoch for each in bench.supervisor.observed()] == [5]

    asyncio.run(scenario())


def test_a_terminal_whose_lease_is_over_is_not_started_and_says_why(bench: Bench) -> None:
    async def scenario() -> None:
        bench.lease_over = True
        bench.want(wish(lease_policy="self_fence"))
        async with bench.running():
            await until(lambda: [each.reason for each in bench.supervisor.observed()] == [Reason.LEASE_EXPIRED])
            assert [each.phase for each in bench.supervisor.observed()] == [Phase.BACKING_OFF]

    asyncio.run(scenario())
