"""An hour without the control plane: what keeps running runs on, trades, and all of it is told afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.simulation.environment import PROCESSES, TIME, TimeSource, simulated_environment
from tests.simulation.host import Machines
from tests.simulation.processes import TerminalProcess
from tests.simulation.scenario import Scenario, draw
from tests.simulation.world import World

_READY = 150.0
_HOUR = 3600.0
_PATIENCE = 1_200.0
_SEEDS = (2, 3, 4, 5, 6)
"""Each with a terminal at least that keeps running; of the first all fence themselves."""


class HourAlone(World):
    """No faults and no wishes but the one: the control plane is dead for an hour."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        super().__init__(scenario, folder)
        self.kept: list[TerminalProcess] = []
        self.trades: dict[str, int] = {}
        """Deals of the hour, by terminal."""
        self.spooled = 0

    async def _story(self) -> None:
        self.plane.start()
        for index in range(self.scenario.nodes):
            self._add_node(f"node-{index + 1}")
        self.people.arrive()
        self.loop.create_task(self._time_service())
        await asyncio.sleep(_READY)
        assert [each.able for each in self.terminals()] == [True] * self.scenario.accounts
        keep = self.database.query("SELECT id FROM terminals WHERE lease_policy = 'keep_running'")
        self.kept = [each for each in self.terminals() if (each.terminal_id,) in keep]
        before = {each.terminal_id: self._deals(each) for each in self.kept}
        self.plane.crash()
        await asyncio.sleep(_HOUR)
        self.trades = {each.terminal_id: self._deals(each) - before[each.terminal_id] for each in self.kept}
        self.spooled = sum(bool(node.agent and node.agent.spool) for node in self.nodes)
        assert [each for each in self.kept if not each.able] == []
        self.broker.open = False
        self.plane.start()
        deadline = self.loop.now + _PATIENCE
        while missing := self.invariants.missing():
            assert self.loop.now < deadline, missing
            await asyncio.sleep(15.0)

    async def _time_service(self) -> None:
        """The clocks of this world drift by up to a hundredth, too far for an hour: signatures have a date."""
        while True:
            await asyncio.sleep(60.0)
            for node in self.nodes:
                node.host.clocks.correct()

    def _deals(self, terminal: TerminalProcess) -> int:
        return len(self.broker.accounts[terminal.login].deals)


@pytest.mark.parametrize("seed", _SEEDS)
def test_nothing_that_keeps_running_stops_and_no_event_is_lost(seed: int, tmp_path: Path) -> None:
    with simulated_environment():
        world = HourAlone(draw(seed, ()), tmp_path)
        try:
            result = world.run()
        finally:
            TIME.at, PROCESSES.machines = TimeSource().at, Machines()
    assert result.broken == []
    assert world.kept
    assert all(world.trades.values())
    assert world.spooled
    print(f"seed {seed}: {len(world.kept)} terminals ran on, {sum(world.trades.values())} deals in the hour")
