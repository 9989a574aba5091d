"""The storm: strikes with faults of every kind, each of which ends at the latest when calm comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import Node, World

Undo = Callable[[], None]


class Storm:
    """Brings the faults of the scenario, one after the other, many at the same time."""

    def __init__(self, world: World, kinds: Mapping[str, Fault]) -> None:
        self.world = world
        self._kinds = kinds
        self.chance = world.chance
        self._undo: dict[int, Undo] = {}
        self._number = 0
        self._calm = False

    async def rage(self) -> None:
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / self.world.scenario.pace))
            kind = self.chance.choice(self.world.scenario.faults)
            self._kinds[kind](self, kind)

    def calm(self) -> None:
        """End every fault that still lasts."""
        self._calm = True
        for undo in list(self._undo.values()):
            undo()
        self._undo.clear()
        self.world.database.disarm()
        for node in self.world.nodes:
            node.host.disk.disarm()

    def happened(self, kind: str, what: str) -> None:
        self.world.counts[kind] += 1
        self.world.note(f"FAULT {kind}: {what}")

    def last(self, seconds: float, undo: Undo) -> None:
        """Let a fault end after a time; at once when calm has come."""
        if self._calm:
            undo()
            return
        self._number += 1
        number = self._number
        self._undo[number] = undo

        def end() -> None:
            if self._undo.pop(number, None) is not None:
                undo()

        self.world.network.later(seconds, end)

    def node(self) -> Node:
        return self.chance.choice(self.world.nodes)

    def span(self) -> float:
        """Short, longer than a lease, or longer than it takes to be lost."""
        low, high = self.chance.choice(((3.0, 40.0), (40.0, 200.0), (250.0, 600.0)))
        return self.chance.uniform(low, high)

    def control_plane_crashed(self) -> None:
        self.world.note("control plane crashed")
        self.last(self.span() / 3, self._start_control_plane)

    def _start_control_plane(self) -> None:
        if not self.world.plane.up:
            self.world.note("control plane starts")
            self.world.plane.start()


Fault = Callable[[Storm, str], None]
