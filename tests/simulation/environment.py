"""What libraries and the farm take from the machine, replaced for the length of a run: time, chance, slow hashing."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import random
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import jwt.api_jwt
import structlog

import control_plane.identity.passwords
import control_plane.ids
import node_agent.agent
import node_agent.roster
import node_agent.sync
import node_agent.watchdog.duty
import node_agent.watchdog.keeper
import node_agent.watchdog.lifeline
from node_agent.layout import DataLayout
from node_agent.process import Handle
from node_agent.watchdog.fence_file import Fence, write_fence
from tests.simulation.loop import current_process

if TYPE_CHECKING:
    from tests.simulation.host import Machines


class Chance:
    """Stands in for `random` and `secrets`: one seeded source, so that a seed replays exactly."""

    def __init__(self) -> None:
        self.source = random.Random(0)

    def randbits(self, bits: int) -> int:
        return self.source.getrandbits(bits)

    def token_hex(self, size: int = 32) -> str:
        return self.source.randbytes(size).hex()

    def token_urlsafe(self, size: int = 32) -> str:
        return self.source.randbytes(size).hex()

    def uniform(self, low: float, high: float) -> float:
        return self.source.uniform(low, high)


class TimeSource:
    """The true time of the present world; `at` is replaced by each world."""

    def __init__(self) -> None:
        self.at: Callable[[], float] = lambda: 0.0

    def time_ns(self) -> int:
        return int(self.at() * 1e9)


class ProcessTable:
    """What the system says of processes; each world puts its own machines here."""

    machines: Machines

    sep = "/"

    def getpid(self) -> int:
        looking = self.machines.looking
        return looking.pid if looking is not None else 0

    def running_commands(self) -> list[tuple[int, list[str]]]:
        return self.machines.commands()

    def kill(self, pid: int) -> None:
        self.machines.kill(pid)

    def is_alive(self, handle: Handle) -> bool:
        return self.machines.birth_of(handle.pid) == handle.birth and self._is_here(handle.pid)

    def _is_here(self, pid: int) -> bool:
        """A copied disk names processes of another machine."""
        asking: Any = current_process()
        return asking is None or self.machines.processes[pid].host is asking.host


class _CheapHasher:
    def __init__(self, **_costs: int) -> None:
        pass

    def hash(self, password: str) -> str:
        return f"cheap:{password}"

    def verify(self, known: str, password: str) -> bool:
        return known == f"cheap:{password}"


class _Watch:
    """Stands in for `node_agent.process.Watch`, which asks the kernel for a descriptor."""

    descriptor = None

    def __init__(self, handle: Handle, alive: Callable[[Handle], bool]) -> None:
        self._handle = handle
        self._alive = alive

    def alive(self) -> bool:
        return self._alive(self._handle)


CHANCE = Chance()
TIME = TimeSource()
PROCESSES = ProcessTable()


class _VirtualDatetime(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # the library reads it only
        return datetime.fromtimestamp(TIME.at(), tz or UTC)


FULL_DISKS: set[Path] = set()
"""Folders of hosts whose disk takes nothing more."""
_SILENT = logging.getLogger("tests.simulation.silent")
_SILENT.setLevel(logging.CRITICAL)


def _write_fence(path: Path, fence: Fence) -> None:
    if path.parent in FULL_DISKS:
        raise OSError(errno.ENOSPC, "No space left on device")
    write_fence(path, fence)


def _write_continuity(layout: DataLayout, token: str) -> None:
    if layout.root in FULL_DISKS:
        raise OSError(errno.ENOSPC, "No space left on device")
    layout.continuity.write_text(token)  # the real one also waits for the disk, which costs only time here


@contextlib.contextmanager
def simulated_environment() -> Iterator[None]:
    """Everything random comes from CHANCE, and time from TIME."""
    with contextlib.ExitStack() as patches:
        for target, name, value in (
            (control_plane.ids, "secrets", CHANCE),
            (control_plane.ids, "time", TIME),
            (control_plane.identity.passwords, "PasswordHasher", _CheapHasher),
            (node_agent.sync, "secrets", CHANCE),
            (node_agent.sync, "random", CHANCE),
            (node_agent.roster, "is_alive", PROCESSES.is_alive),
            (node_agent.roster, "Watch", _Watch),
            (node_agent.watchdog.duty, "is_alive", PROCESSES.is_alive),
            (node_agent.watchdog.duty, "running_commands", PROCESSES.running_commands),
            (node_agent.watchdog.duty, "_send_kill", PROCESSES.kill),
            (node_agent.watchdog.duty, "os", PROCESSES),
            (node_agent.watchdog.duty, "log", _SILENT),
            (node_agent.watchdog.keeper, "random", CHANCE),
            (node_agent.watchdog.lifeline, "write_fence", _write_fence),
            (node_agent.agent, "write_continuity", _write_continuity),
            (jwt.api_jwt, "datetime", _VirtualDatetime),
        ):
            patches.enter_context(mock.patch.object(target, name, value))
        patches.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)  # its process was killed
        before = structlog.get_config()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        patches.callback(lambda: structlog.configure(**before))
        patches.enter_context(_collected_between_worlds())
        yield


@contextlib.contextmanager
def _collected_between_worlds() -> Iterator[None]:
    """What nobody holds any more must not run its last lines in the middle of another world."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
        gc.collect()
