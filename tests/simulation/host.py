"""A machine: its processes, its disk, its two clocks, and what can befall all of them."""

from __future__ import annotations

import asyncio
import errno
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mt5_bridge.lease import Moment
from node_agent.database import Database
from node_agent.errors import StorageError
from node_agent.layout import DataLayout
from node_agent.process import Children, Ending, Handle, Role, Slot
from node_agent.protocol.messages import DesiredTerminal
from node_agent.watchdog.duty import Duty
from tests.simulation.database import CrashError
from tests.simulation.loop import SimProcess, VirtualLoop
from tests.simulation.network import Weather


class SimDisk(Database):
    """The agent's database on a disk that can be full, and under an agent that can die in any commit."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path
        self.full = self.was_full = False
        self.on_crash: Callable[[], None] = lambda: None
        self._dies_in: int | None = None
        self._dies_after = False
        self._safe = self._connection.serialize()

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

    def reach_the_platter(self) -> None:
        """What is written by now would outlive a power cut; what comes later may not."""
        self._safe = self._connection.serialize()

    def lose_power(self) -> None:
        """Go back to what had reached the disk."""
        self._connection.close()
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self.path.write_bytes(self._safe)
        super().__init__(self.path)

    def copy_to(self, path: Path) -> SimDisk:
        target = sqlite3.connect(path)
        with target:
            self._connection.backup(target)
        target.close()
        return SimDisk(path)


class Clocks:
    """Both clocks of a machine, drifting. A suspended one counts on in `boot`, a paused virtual one only in `wall`."""

    def __init__(self, name: str, loop: VirtualLoop, drift: float) -> None:
        self._name = name
        self._loop = loop
        self._rate = 1.0 + drift
        self._since = loop.now
        self._wall = loop.now
        self._boot = 0.0
        self.boots = 1

    def wall(self) -> float:
        """Seconds since 1970, as this machine believes."""
        return self._wall + (self._loop.now - self._since) * self._rate

    def moment(self) -> Moment:
        """One reading, as the agent and the watchdog take it."""
        return Moment(f"{self._name}-{self.boots}", self.boot(), self.wall())

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
        self.boots += 1

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
        """Outlives what its engine does to end it; after a KILL it stays, stuck in the kernel, and does no more."""
        self._stunned = False
        self.on_end: Callable[[], None] = lambda: None
        """What the world does when this process is no more."""
        host.processes[self.pid] = self
        host.machines.processes[self.pid] = self

    def stun(self) -> None:
        """The system has taken the KILL and cannot finish it."""
        if not self._stunned:
            self._stunned = True
            self.freeze()

    def give_in(self) -> None:
        """No longer stuck."""
        self.stubborn = False
        if self._stunned:
            self.end()

    def end(self) -> None:
        """Gone: by its own fault, by a signal or with its machine."""
        if self.alive:
            self.kill()
            self.host.processes.pop(self.pid, None)
            self.on_end()


class Machines:
    """The process table of all hosts: what the farm's code sees of the system."""

    def __init__(self) -> None:
        self.processes: dict[int, OsProcess] = {}
        self.looking: OsProcess | None = None
        """Whose code asks the system at the moment."""
        self._pid = 100_000_000  # far above any real one, should a signal ever escape

    def next_pid(self) -> int:
        self._pid += 1
        return self._pid

    def commands(self) -> list[tuple[int, list[str]]]:
        """Command lines on the machine of whoever asks."""
        assert self.looking is not None
        host = self.looking.host
        return [
            (pid, [f"{host.layout.terminal(process.slot.owner).root}/startup.ini"])
            for pid, process in host.processes.items()
            if process.slot is not None and process.slot.owner
        ]

    def kill(self, pid: int) -> None:
        """SIGKILL, sent by a watchdog."""
        process = self.processes.get(pid)
        if process is None or not process.alive:
            return
        process.host.on_fence(process)
        if process.stubborn:
            process.stun()
        else:
            process.end()

    def birth_of(self, pid: int) -> str | None:
        process = self.processes.get(pid)
        return process.birth if process is not None and process.alive else None


class Watchdog(OsProcess):
    """The real watchdog's look, every two seconds."""

    def __init__(self, host: Host, slot: Slot) -> None:
        super().__init__(host, slot)
        self._duty = Duty(host.folder, host.clocks.moment)
        self.spawn(self._watch())

    async def _watch(self) -> None:
        while True:
            self.host.machines.looking = self
            self._duty.look()
            await asyncio.sleep(2.0)


class SimChildren(Children):
    """The engine of plain processes, for processes of this world."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host

    def reap(self) -> None:
        """Nothing stays a zombie here."""

    def start(self, slot: Slot, command: Sequence[str], output: Path, fingerprint: str, now: float) -> Handle:
        """The keeper starts the watchdog this way; terminals and workers are made by the agent itself."""
        if self._host.watchdog_broken:
            raise OSError(errno.ENOEXEC, "Exec format error")
        process = Watchdog(self._host, slot)
        return Handle(slot, process.pid, process.birth, now, fingerprint)

    def ending(self, handle: Handle) -> Ending:
        return Ending()

    def stop(self, handle: Handle, grace: float) -> None:
        self.kill(handle)

    def kill(self, handle: Handle) -> None:
        process = self._host.machines.processes.get(handle.pid)
        here = process is not None and process.host is self._host
        if process is not None and here and process.birth == handle.birth and not process.stubborn:
            process.end()


class Host:
    """One machine. `folder` holds its disk."""

    def __init__(self, name: str, loop: VirtualLoop, machines: Machines, folder: Path, chance: random.Random) -> None:
        self.name = name
        self.loop = loop
        self.machines = machines
        self.chance = chance
        self.clocks = Clocks(name, loop, chance.uniform(-0.01, 0.01))
        self.weather = Weather()
        self.broker_cut = False
        self.powered = True
        self.frozen_since: float | None = None
        self.processes: dict[int, OsProcess] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.disk = SimDisk(folder / "agent.sqlite3")
        self.layout = DataLayout(folder)
        self.told_at = 0.0
        self.told: dict[str, DesiredTerminal] = {}
        """The newest snapshot that the control plane's answers brought, whatever the agent made of it."""
        self.watchdog_broken = False
        """No watchdog can be started here."""
        self.on_wake: Callable[[OsProcess, float], None] = lambda *_facts: None
        """What a process finds changed after so many seconds."""
        self.on_fence: Callable[[OsProcess], None] = lambda _process: None
        """The watchdog is about to kill it."""
        self.on_ask: Callable[[], None] = lambda: None
        """Its agent has just sent a sync."""
        self.routes: dict[str, int] = {}
        """Terminal id to epoch: what the gateway lets in."""
        self.journals: dict[str, list[dict[str, object]]] = {}
        """The workers' order journals by terminal id."""

    @property
    def boot_id(self) -> str:
        return self.clocks.moment().boot

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
            self.on_wake(process, slept)
            process.thaw()

    def power_off(self, writes_lost: bool) -> None:
        self.powered = False
        self.frozen_since = None
        for process in list(self.processes.values()):
            process.end()
        if writes_lost:
            self.disk.lose_power()

    def power_on(self) -> None:
        self.powered = True
        self.clocks.reboot()
