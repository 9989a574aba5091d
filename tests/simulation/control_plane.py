"""The control plane as one process that can crash in any statement, hang and start again. Only its database stays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import control_plane.container
from control_plane.access.port import Target, TerminalDoor, TerminalSession
from control_plane.config import Settings
from control_plane.container import Farm, build_farm
from control_plane.loops import Loop
from node_agent.protocol.tickets import Scope
from tests.simulation.database import CrashError, MemoryDatabase
from tests.simulation.loop import SimProcess, VirtualLoop

_PERIODS = {
    "jobs": 30.0,
    "placement": 25.0,
    "node-leases": 12.0,
    "relocation": 14.0,
    "drains": 20.0,
    "quarantine": 120.0,
    "unsettled-orders": 300.0,
    "retention": 600.0,
    "alerts": 120.0,
    "backtests": 600.0,
    "copying": 600.0,
    "deliveries": 300.0,
    "equity-thinning": 600.0,
}
"""How often the loops run here: often enough for every interleaving, seldom enough for thousands of seeds."""
_OTHER_PERIOD = 10.0
_IDLE = {"idle-sessions", "trade-logs"}
"""They do nothing but talk to terminals through a gateway, which is not played here, and the second in threads."""
_NOTICED = 2.0
"""Seconds after which the outbox's worker notices that it was woken."""


class TrueClock:
    """The control plane's machines keep time; the nodes' need not."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._loop.now, UTC)


class NoDoor:
    """No terminal can be reached through a gateway from here; simulated clients go there themselves."""

    def session(self, target: Target, scope: Scope, principal: str) -> AbstractContextManager[TerminalSession]:
        raise NotImplementedError

    def close_idle(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Nothing is open."""


class ControlPlane:
    """`crashed` is called when it dies in a statement, `wrong` with whatever error no caller should ever cause."""

    def __init__(
        self, loop: VirtualLoop, database: MemoryDatabase, data: Path, chance: random.Random, settings: dict[str, Any]
    ) -> None:
        self.loop = loop
        self.database = database
        self.chance = chance
        self.clock = TrueClock(loop)
        self.settings = Settings(data=data, **settings)
        self.process: SimProcess | None = None
        self.farm: Farm | None = None
        self.crashed: Callable[[], None] = lambda: None
        self.wrong: Callable[[str], None] = lambda _text: None
        self.committed: Callable[[], None] = lambda: None
        """Called after each call, when the database may have changed."""
        self.door: TerminalDoor = NoDoor()

    @property
    def up(self) -> bool:
        return self.process is not None and self.process.alive

    def start(self) -> None:
        self.process = SimProcess("control-plane", self.loop)
        with mock.patch.object(control_plane.container, "open_database", return_value=self.database):
            self.farm = build_farm(self.settings, clock=self.clock, door=self.door)
        for each in self.farm.loops:
            if each.name not in _IDLE:
                self.process.spawn(self._run(each))

    def crash(self) -> None:
        """Everything in memory is gone, the bus with all that was in it as well."""
        self.database.disarm()
        self.database.abort()
        if self.process is not None:
            self.process.kill()
        self.farm = None

    def die(self) -> None:
        """Of a statement: whoever keeps it running is told."""
        self.crash()
        self.crashed()

    def perform(self, work: Callable[[Farm], Any]) -> Any:
        """One call of the API, in one go. Raises what the farm raises; CrashError when it died in the middle."""
        if self.farm is None:
            raise CrashError
        try:
            return work(self.farm)
        except CrashError:
            self.die()
            raise
        finally:
            if not self.database.connection.in_transaction:
                self.committed()

    async def _run(self, loop: Loop) -> None:
        period = _PERIODS.get(loop.name, _OTHER_PERIOD)
        await asyncio.sleep(self.chance.uniform(0.0, min(period, 10.0)))
        while True:
            try:
                loop._wake.clear()
                self.perform(lambda _farm: loop.step())
            except CrashError:
                return
            except Exception as error:  # noqa: BLE001 - as the real loop does, but here it is a finding
                self.wrong(f"loop {loop.name}: {error!r}")
            await self._pause(loop, period)

    async def _pause(self, loop: Loop, period: float) -> None:
        if loop.name != "jobs":
            await asyncio.sleep(period)
            return
        for _ in range(int(period / _NOTICED)):
            if loop._wake.is_set():
                return
            await asyncio.sleep(_NOTICED)
