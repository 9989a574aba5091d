"""Child processes that outlive the agent: started in sessions of their own, found again by pid and birth.

A pid alone proves nothing, since pids are reused; the birth (boot and start tick on Linux, which no change of the wall
clock can move) makes the pair unique.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Protocol

import psutil

from node_agent.detached import start_detached
from node_agent.files import private_folder

_OUTPUT_LIMIT = 4 * 1024 * 1024
_ZOMBIE_STATES = "ZX"
if sys.platform == "win32":
    _KILL = signal.SIGTERM
else:
    _KILL = signal.SIGKILL
"""Windows ends a process at once by any signal that is no console event."""


class Role(StrEnum):
    """Kinds of process that the agent starts, in the order in which `down` stops them."""

    BOT = "bot"
    WORKER = "worker"
    TERMINAL = "terminal"
    GATEWAY = "gateway"
    WATCHDOG = "watchdog"


@dataclass(frozen=True)
class Slot:
    """What a process is for; at most one process fills a slot."""

    role: Role
    owner: str = ""
    """Terminal id; empty for what serves the whole node."""
    bot_id: str = ""

    @property
    def id(self) -> str:
        return self.bot_id or self.owner


PROCESS = "process"
"""Kind of a handle that names a process of this machine and nothing else."""
SHOWS_SCREEN = "screen"
"""Among the facts of a terminal's handle if people may look at its screen."""


@dataclass(frozen=True)
class Handle:
    """Something that was started, good across restarts of the agent.

    Every kind names a process as this machine sees it, so that life and death are told by pid and birth alone; `facts`
    are what the engine of its kind needs beside that (the id of a container, say).
    """

    slot: Slot
    pid: int
    birth: str
    started_at: float
    fingerprint: str
    """Digest of the settings it was started with."""
    kind: str = PROCESS
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def birth_of(pid: int) -> str | None:
    """When the process was born; None when there is no such process or only a zombie of it."""
    if sys.platform == "win32":
        return _birth_on_windows(pid)
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():
        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.3f}"
        except psutil.Error:
            return None
    try:
        fields = stat.read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0].decode() in _ZOMBIE_STATES:
        return None
    return f"{_boot_id()}:{fields[19].decode()}"


def _birth_on_windows(pid: int) -> str | None:
    assert sys.platform == "win32"
    from node_agent.windows.processes import key_of

    key = key_of(pid)
    return None if key is None else str(key.created)


def is_alive(handle: Handle) -> bool:
    return birth_of(handle.pid) == handle.birth


class Watch:
    """Whether one process lives, asked often: by a descriptor of the kernel where there is one (Linux 5.3)."""

    def __init__(self, handle: Handle, alive: Callable[[Handle], bool]) -> None:
        """`alive` is asked where there is no descriptor."""
        self._handle = handle
        self._alive = alive
        self._descriptor: int | None = None
        open_descriptor = getattr(os, "pidfd_open", None)
        if open_descriptor is not None and Path("/proc/self/stat").exists():
            with suppress(OSError):
                self._descriptor = open_descriptor(handle.pid)
        if sys.platform != "win32" and self._descriptor is not None:
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLIN)
            if not alive(handle):  # the descriptor may be of one that got the same pid
                self.close()

    @property
    def descriptor(self) -> int | None:
        return self._descriptor

    def alive(self) -> bool:
        if sys.platform == "win32" or self._descriptor is None:
            return self._alive(self._handle)
        return not self._poll.poll(0)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


@dataclass(frozen=True)
class Ending:
    """How something ended."""

    code: int | None = None
    """Negative: killed by that signal. None: nobody knows."""
    out_of_memory: bool = False
    """Its memory limit ended it."""


class Engine(Protocol):
    """Ends what handles of one kind name, and says how it ended. Works from the handle alone, in any process."""

    def stop(self, handle: Handle, grace: float) -> None:
        """Ask it to end, force it after `grace` seconds. Blocks until it is gone; a handle of the dead is no error."""

    def kill(self, handle: Handle) -> None:
        """Force it at once. Blocks until it is gone, 5 s at most; a handle of the dead is no error."""

    def reap(self) -> None:
        """Called at each look at the node, before the dead are counted."""

    def ending(self, handle: Handle) -> Ending:
        """How a dead one ended. Asked once."""


def _any_child_ended() -> bool:
    """One question instead of one for each child; always True where it cannot be asked."""
    if sys.platform in {"win32", "darwin"}:
        return True
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


class Children:
    """The engine of plain processes: starts them, and reaps those that are children of this process. Thread-safe."""

    def __init__(self) -> None:
        self._popen: dict[int, subprocess.Popen[bytes]] = {}
        self._exit_codes: dict[int, int] = {}
        self._lock = threading.Lock()

    def start(self, slot: Slot, command: Sequence[str], output: Path, fingerprint: str, now: float) -> Handle:
        """Start `command` detached, output appended to a bounded file. Raises OSError."""
        private_folder(output.parent)
        # Always for appending: what is cut while the process runs (`outputs`) must go on at its new end.
        with output.open("ab") as log:
            if log.tell() > _OUTPUT_LIMIT:
                log.truncate(0)
            # One BLAS thread a process: fifty terminals must not start fifty thread pools.
            process = start_detached(command, {**os.environ, "OPENBLAS_NUM_THREADS": "1"}, log.fileno())
        with self._lock:
            self._popen[process.pid] = process
            self._exit_codes.pop(process.pid, None)
        # A child that has exited already stays in the table as a zombie until we reap it, so it has no birth.
        birth = birth_of(process.pid) or f"stillborn:{process.pid}:{now}"
        return Handle(slot, process.pid, birth, now, fingerprint)

    def reap(self) -> None:
        """Collect the exit codes of dead children, so that none stays a zombie."""
        if not _any_child_ended():
            return
        with self._lock:
            for pid, process in list(self._popen.items()):
                code = process.poll()
                if code is not None:
                    del self._popen[pid]
                    self._exit_codes[pid] = code

    def ending(self, handle: Handle) -> Ending:
        """Without a code when it was started by an earlier agent."""
        self.reap()
        with self._lock:
            return Ending(self._exit_codes.pop(handle.pid, None))

    def stop(self, handle: Handle, grace: float) -> None:
        """TERM, and KILL after `grace` seconds; returns when the process is gone. Blocks."""
        for number in (signal.SIGTERM, _KILL):
            if not is_alive(handle):
                break
            _signal(handle, number)
            if self._gone_within(handle, grace):
                break
        self.reap()

    def kill(self, handle: Handle) -> None:
        """KILL at once, for a process that no longer answers. Blocks until it is gone, 5 s at most."""
        if is_alive(handle):
            _signal(handle, _KILL)
            self._gone_within(handle, 5.0)
        self.reap()

    def _gone_within(self, handle: Handle, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not is_alive(handle):
                return True
            time.sleep(0.02)
        return False


def _signal(handle: Handle, number: signal.Signals) -> None:
    try:
        os.kill(handle.pid, number)
    except OSError:
        # It has just gone, which Windows says in other words than Linux.
        if is_alive(handle):
            raise


def running_commands() -> Iterator[tuple[int, list[str]]]:
    """Command lines of this user's processes, to find children whose handle was lost in a crash."""
    return _commands_of_proc() if Path("/proc/self/cmdline").exists() else _commands_of_psutil()


def _commands_of_proc() -> Iterator[tuple[int, list[str]]]:
    """In a tenth of the time, since this stands between a killed agent and its successor's first look."""
    own = Path("/proc/self").stat().st_uid
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            if folder.stat().st_uid == own and (line := (folder / "cmdline").read_bytes()):
                yield int(folder.name), line.rstrip(b"\0").decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended


def _commands_of_psutil() -> Iterator[tuple[int, list[str]]]:
    own = psutil.Process().username()
    for process in psutil.process_iter(["cmdline", "username", "status"]):
        facts = process.info
        if facts["username"] == own and facts["status"] != psutil.STATUS_ZOMBIE:
            yield process.pid, list(facts["cmdline"] or [])
