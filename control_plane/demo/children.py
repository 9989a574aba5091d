"""The demo's own child processes: broker, control plane and agent.

A child that dies is started again and the person is told. What the agent starts in turn (gateway, terminals, workers,
bots) is the agent's to keep; `mt5farm-agent down` stops it at the end.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from control_plane.demo.settings import DemoError, write_private

STOP_SECONDS = 10.0
START_SECONDS = 60.0
STABLE_SECONDS = 10.0
MAX_FAST_EXITS = 5

Handle = dict[str, str | float]


@dataclass
class Child:
    """One supervised process. `ready` is asked until it is true after each start."""

    role: str
    argv: Sequence[str]
    log: Path
    ready: Callable[[], bool]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    fast_exits: int = 0

    def last_words(self) -> str:
        """The last line of the child's log, for an error message."""
        lines = [line for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"


@dataclass
class Children:
    """Starts, watches and stops the demo's children in a fixed order."""

    record: Path
    """File with pid and creation time of each child, so that a later start can clear up after a crash of the demo."""
    say: Callable[[str], None]
    now: Callable[[], float]
    wait: Callable[[float], bool]
    """Pause for some seconds; True when the person asked to stop meanwhile."""
    members: list[Child] = field(default_factory=list)

    def start(self, child: Child) -> None:
        """Start a child; what it is needed for waits with `wait_ready`."""
        self.members.append(child)
        self._launch(child)

    def wait_ready(self, child: Child) -> None:
        """Raises DemoError with the child's last words when it does not come up."""
        deadline = self.now() + START_SECONDS
        while not child.ready():
            if child.process is None or child.process.poll() is not None:
                raise DemoError(f"The {child.role} did not start: {child.last_words()}  (log: {child.log})")
            if self.now() > deadline:
                raise DemoError(f"The {child.role} is not ready after {START_SECONDS:.0f} s. See {child.log}.")
            if self.wait(0.1):
                raise KeyboardInterrupt

    def watch(self) -> None:
        """Start dead children again. Raises DemoError when one keeps dying."""
        for child in self.members:
            if child.process is None or child.process.poll() is None:
                continue
            lived = self.now() - child.started_at
            child.fast_exits = child.fast_exits + 1 if lived < STABLE_SECONDS else 0
            if child.fast_exits >= MAX_FAST_EXITS:
                raise DemoError(f"The {child.role} keeps stopping: {child.last_words()}  (log: {child.log})")
            self.say(f"The {child.role} {_cause(child.process.returncode)}; starting it again.")
            self._launch(child)

    def stop(self, role: str) -> None:
        """Stop one child for good: ask first, then insist."""
        for child in [member for member in self.members if member.role == role]:
            self.members.remove(child)
            if child.process is not None and child.process.poll() is None:
                _end(psutil.Process(child.process.pid))
                child.process.wait()
        self._write_record()

    def clear_stale(self) -> None:
        """Stop children of an earlier demo that was killed before it could."""
        # The last one first, as at a proper end: an agent without its control plane only waits.
        for handle in reversed(read_record(self.record)):
            process = find_process(handle)
            if process is not None:
                self.say(f"Stopping the {handle['role']} left by an earlier start.")
                _end(process)

    def _launch(self, child: Child) -> None:
        child.log.parent.mkdir(parents=True, exist_ok=True)
        with child.log.open("wb" if child.process is None else "ab") as log:
            # A session of its own, so that Ctrl-C reaches the demo alone and the order of stopping stays ours.
            child.process = subprocess.Popen(  # noqa: S603 - argv is built here, never by a user
                list(child.argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        child.started_at = self.now()
        self._write_record()

    def _write_record(self) -> None:
        handles = []
        for child in self.members:
            if child.process is not None and child.process.poll() is None:
                handles.append(handle_of(child.role, child.process.pid))
        write_private(self.record, json.dumps(handles))


def handle_of(role: str, pid: int) -> Handle:
    """Pid and creation time name a process for sure; a pid alone may have been given to a stranger since."""
    return {"role": role, "pid": pid, "created": psutil.Process(pid).create_time()}


def find_process(handle: Handle) -> psutil.Process | None:
    """The live process that the handle names, if it still is the same one."""
    try:
        process = psutil.Process(int(handle["pid"]))
        same = abs(process.create_time() - float(handle["created"])) < 1.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return None


def read_record(record: Path) -> list[Handle]:
    """Handles of the demo's own children, as last written; empty when there are none."""
    try:
        handles = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return handles if isinstance(handles, list) else []


def module(name: str, *arguments: str) -> list[str]:
    """Command line of one of the farm's own programs, run by this very Python."""
    return [sys.executable, "-m", name, *arguments]


def _cause(code: int) -> str:
    if code < 0:
        return f"was killed ({signal.Signals(-code).name})"
    return f"stopped with exit code {code}"


def _end(process: psutil.Process) -> None:
    try:
        process.terminate()
        process.wait(STOP_SECONDS)
    except psutil.TimeoutExpired:
        process.kill()
    except psutil.NoSuchProcess:
        return
