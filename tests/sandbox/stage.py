"""A machine with something worth stealing, and a sandbox on it for each attempt."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from mt5_bridge.sandbox.limits import MIB, Limits
from mt5_bridge.sandbox.room import Room
from mt5_bridge.sandbox.running import Sandbox
from tests.sandbox.attempts import NEVER_ENDS, Attempt, attempts

_AT_ONCE = 16
_ENDING_SECONDS = 20.0
SECRET = "the-agents-secret-4711"
_LIMITS = replace(Limits(), memory=256 * MIB, wall_clock=60.0, cpu_burst=60.0)
_SHORT = replace(_LIMITS, wall_clock=5.0)
"""For what never ends by itself. The others may take as long as a busy machine makes them."""


@dataclass(frozen=True)
class Outcome:
    attempt: Attempt
    held: bool
    """It was refused or contained."""
    told: str
    """What the kernel or the sandbox said."""
    seconds: float


class Stage:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        secret = folder / "agent" / "token"
        secret.parent.mkdir(mode=0o700)
        secret.write_text(SECRET)
        self.neighbour = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        self._listeners = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX), socket.socket()]
        path, abstract = str(folder / "agent" / "socket"), f"m5-{os.getpid()}"
        addresses: list[Any] = [path, f"\0{abstract}", ("127.0.0.1", 0)]
        for listener, address in zip(self._listeners, addresses, strict=True):
            listener.bind(address)
            listener.listen(1)
        port = self._listeners[2].getsockname()[1]
        self.attempts = attempts(str(secret), self.neighbour.pid, path, port, abstract)
        self._numbers = count(1)

    def close(self) -> None:
        self.neighbour.kill()
        self.neighbour.wait()
        for listener in self._listeners:
            listener.close()

    def play_all(self, chosen: Iterable[Attempt]) -> Iterator[Outcome]:
        """Some at once, since they mostly wait; those that wait longest first."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            yield from threads.map(self.play, sorted(chosen, key=lambda attempt: not attempt.contained))

    def play(self, attempt: Attempt) -> Outcome:
        name = f"try{next(self._numbers)}"
        home = self.folder / name
        code, box = home / "code", home / "box"
        for each in (home, code, box):
            each.mkdir(mode=0o755)
        # Where it works is where Python looks first.
        for place in (code, box):
            (place / "main.py").write_text(attempt.code)
        printed: list[str] = []
        limits = _SHORT if attempt.words == NEVER_ENDS else _LIMITS
        sandbox = Sandbox(Room(name, box, ["main"], limits, code), _kept(printed))
        began = time.monotonic()
        sandbox.start()
        reason = None
        while reason is None and sandbox.poll() is None:
            reason = sandbox.look()
            time.sleep(0.05)
        assert sandbox._process is not None
        inside = psutil.Process(sandbox._process.pid).children(recursive=True) if sandbox.poll() is None else []
        sandbox.kill()
        gone = _gone(inside)
        seconds = time.monotonic() - began
        unharmed = self.neighbour.poll() is None and gone and not any(SECRET in line for line in printed)
        if attempt.contained:
            told = reason or f"it ended by itself, code {sandbox.poll()}"
            return Outcome(attempt, unharmed and attempt.words in told, told, seconds)
        said = [line for line in printed if line.startswith(("got", "refused"))]
        told = reason or (said[-1] if said else f"ended, code {sandbox.poll()}: {' '.join(printed[-1:])}")
        return Outcome(attempt, unharmed and not told.startswith("got"), told, seconds)


def _gone(processes: list[psutil.Process]) -> bool:
    """Whether nothing of them runs any more; the dead may wait for whoever has inherited them."""
    deadline = time.monotonic() + _ENDING_SECONDS
    while any(_runs(each) for each in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _kept(printed: list[str]) -> Callable[[bytes], None]:
    def tell(line: bytes) -> None:
        if len(printed) < 50:
            printed.append(line.decode("utf-8", "replace"))

    return tell


@contextmanager
def raised() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="m5esc", dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        stage = Stage(Path(folder))
        try:
            yield stage
        finally:
            stage.close()
