"""A machine: its processes, its disk, its two clocks, and what can befall all of them."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from node_agent.database import Database
from node_agent.errors import StorageError
from node_agent.process import Children, Ending, Handle, Role, Slot
from tests.simulation.database import CrashError
from tests.simulation.loop import SimProcess, VirtualLoop
from tests.simulation.network import Weather


class SimDisk(Database):
    """The agent's database on a disk that can be full, and under an agent that can die in any commit."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path
        self.full = False
        self.on_crash: Callable[[], None] = lambda: None
        self._dies_in: int | None = None
        self._dies_after = False

    def arm(self, transactions: int, after: bool) -> None:
        """The agent dies in the n-th transaction from now that writes: before its commit, or right after it."""
        self._dies_in, self._dies_after = transactions, after

    def disarm(self) -> None:
        self._dies_in = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        outermost = not self._connection.in_transaction
        wrote = False
        with super().transaction() as sql:
            before = sql.total_changes
            yield sql
            wrote = sql.total_changes != before
            if wrote and self.full:
                raise StorageError("the agent's database cannot be written: database or disk is full")
            if outermost and wrote and not self._dies_after:
                self._die()
        if outermost and wrote and self._dies_after:
            self._die()

    def _die(self) -> None:
        if self._dies_in is None:
            return
        self._dies_in -= 1
        if self._dies_in <= 0:
            self._dies_in = None
            self.on_crash()
            raise CrashError

    def copy_to(self, path: Path) -> SimDisk:
        target = sqlite3.connect(path)
        with target:
            self._connection.backup(target)
        target.close()
        return SimDisk(path)


class Clocks:
    """Both clocks of a machine, drifting. A suspended machine counts on in `boot`, a paused virtual one only in `wall`."""

    def __init__(self, loop: VirtualLoop, drift: float) -> None:
        self._loop = loop
        self._rate = 1.0 + drift
        self._since = loop.now
        self._wall = loop.now
        self._boot = 0.0
        self._stopped_boot = False
        self._stopped_at: float | None = None

    def wall(self) -> float:
        """Seconds since 1970, as this machine believes."""
        return self._wall + (self._loop.now - self._since) * self._rate

    def boot(self) -> float:
        """CLOCK_BOOTTIME."""
        return self._boot + (self._loop.now - self._since) * self._rate

    def step(self, seconds: float) -> None:
        """The wall clock is set."""
        self._wall += seconds

    def correct(self) -> None:
        """The time service sets the wall clock right."""
        self._settle()
        self._wall = self._loop.now

    def reboot(self) -> None:
        self._settle()
        self._boot = 0.0

    def lose_boot_time(self, seconds: float) -> None:
        """A paused virtual machine: its own clock stood still, and the hypervisor sets the wall clock on waking."""
        self._settle()
        self._boot -= seconds * self._rate

    def _settle(self) -> None:
        self._wall, self._boot, self._since = self.wall(), self.boot(), self._loop.now


class OsProcess(SimProcess):
    """A process of a machine, known to its system by pid and birth."""

    def __init__(self, host: Host, slot: Slot | None, name: str = "") -> None:
        super().__init__(f"{host.name}/{name or slot}", host.loop)
        self.host = host
        self.slot = slot
        self.pid = host.machines.next_pid()
        self.birth = f"{host.boot_id}:{self.pid}"
        self.stubborn = False
        """Stuck in the kernel: outlives KILL for a while."""
        host.processes[self.pid] = self
        host.machines.processes[self.pid] = self

    def end(self) -> None:
        """Gone: by its own fault, by a signal or with its machine."""
        if self.alive:
            self.kill()
            self.host.processes.pop(self.pid, None)
            self.ended()

    def ended(self) -> None:
        """What the world notices when this process is no more."""


class Machines:
    """The process table of all hosts: what the farm's code sees of the system."""

    def __init__(self) -> None:
        self.processes: dict[int, OsProcess] = {}
        self._pid = 100

    def next_pid(self) -> int:
        self._pid += 1
        return self._pid

    def birth_of(self, pid: int) -> str | None:
        process = self.processes.get(pid)
        return process.birth if process is not None and process.alive else None


class SimChildren(Children):
    """The engine of plain processes, for processes of this world."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host

    def reap(self) -> None:
        """Nothing stays a zombie here."""

    def ending(self, handle: Handle) -> Ending:
        return Ending()

    def stop(self, handle: Handle, grace: float) -> None:
        self.kill(handle)

    def kill(self, handle: Handle) -> None:
        process = self._host.machines.processes.get(handle.pid)
        if process is not None and process.birth == handle.birth and not process.stubborn:
            process.end()


class Host:
    """One machine. `folder` holds its disk."""

    def __init__(self, name: str, loop: VirtualLoop, machines: Machines, folder: Path, chance: random.Random) -> None:
        self.name = name
        self.loop = loop
        self.machines = machines
        self.chance = chance
        self.clocks = Clocks(loop, chance.uniform(-0.01, 0.01))
        self.weather = Weather()
        self.broker_cut = False
        self.powered = True
        self.frozen_since: float | None = None
        self.boots = 1
        self.processes: dict[int, OsProcess] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.disk = SimDisk(folder / "agent.sqlite3")
        self.files: dict[str, bytes] = {}
        """Small files of the agent, written atomically."""
        self.terminal_folders: set[str] = set()
        self.journals: dict[str, list[dict[str, object]]] = {}
        """The workers' order journals by terminal id."""

    @property
    def boot_id(self) -> str:
        return f"{self.name}-{self.boots}"

    @property
    def frozen(self) -> bool:
        return self.frozen_since is not None

    def of_role(self, role: Role) -> list[OsProcess]:
        return [process for process in self.processes.values() if process.slot and process.slot.role is role]

    def freeze(self) -> None:
        """Suspended, or its virtual machine paused: nothing on it runs, its clocks are another matter."""
        self.frozen_since = self.loop.now
        for process in self.processes.values():
            process.freeze()

    def thaw(self, boot_time_stood: bool) -> None:
        assert self.frozen_since is not None
        slept = self.loop.now - self.frozen_since
        self.frozen_since = None
        if boot_time_stood:
            self.clocks.lose_boot_time(slept)
            self.clocks.correct()
        for process in list(self.processes.values()):
            self.woke(process, slept)
            process.thaw()

    def woke(self, process: OsProcess, slept: float) -> None:
        """Replaced by the world: what a process finds changed after `slept` seconds."""

    def power_off(self) -> None:
        self.powered = False
        self.frozen_since = None
        for process in list(self.processes.values()):
            process.end()

    def power_on(self) -> None:
        self.powered = True
        self.boots += 1
        self.clocks.reboot()
