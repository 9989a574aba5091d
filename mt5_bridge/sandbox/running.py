"""One sandbox of Linux from its start to its end: watched, slowed down, told about and ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from mt5_bridge.sandbox.leavings import clear_folder, folder_size, tell_lines
from mt5_bridge.sandbox.limits import Bucket, Usage, excess
from mt5_bridge.sandbox.processes import consumption, descendants, send
from mt5_bridge.sandbox.room import Room, command, user_id
from mt5_bridge.sandbox.seccomp import filter_program

_FOLDER_EVERY: Final = 5
"""Looks at the processes for one at the files."""
_INNER: Final = 1
"""Processes of bubblewrap below the outermost one: the first of the new process namespace."""


class Sandbox:
    """`tell` gets each line that it prints, at most `LINE_BYTES` long, from a thread of its own."""

    def __init__(self, room: Room, tell: Callable[[bytes], None]) -> None:
        self._room = room
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._started = 0.0
        self._looks = 0
        self._folder = (0, 0)
        self._cpu_seen = 0.0
        self._budget = Bucket(1.0, 1.0, 0.0)
        self._stopped = False
        self.slowed = False
        """It has been using all the processor time that it may have."""

    def start(self) -> None:
        """Raises OSError. The calling thread must live as long as the sandbox, which ends with it."""
        root = os.geteuid() == 0
        bubblewrap = shutil.which("bwrap")
        if bubblewrap is None:
            raise FileNotFoundError("bubblewrap is not installed")
        if root:
            uid = user_id(self._room.name)
            os.chown(self._room.box, uid, uid)
        rules, rules_end = os.pipe()
        output, output_end = os.pipe()
        if root:
            os.fchown(output_end, uid, uid)
        try:
            os.write(rules_end, filter_program())
            os.close(rules_end)
            self._process = subprocess.Popen(  # noqa: S603 - bubblewrap with paths of ours
                command(self._room, root=root, seccomp=rules, bubblewrap=bubblewrap),
                stdin=subprocess.DEVNULL,
                stdout=output_end,
                stderr=output_end,
                env={},
                cwd="/",
                pass_fds=(rules,),
            )
        finally:
            os.close(rules)
            os.close(output_end)
        self._started = time.monotonic()
        limits = self._room.limits
        self._budget = Bucket(limits.cpu_share, limits.cpu_burst, self._started)
        self._reader = threading.Thread(target=self._read, args=(output,), name="output", daemon=True)
        self._reader.start()

    def poll(self) -> int | None:
        """Its exit code once it has ended; that of bubblewrap, which is 128 + n for signal n."""
        assert self._process is not None
        return self._process.poll()

    def look(self) -> str | None:
        """Why it has to be ended, or None; slows down what takes too much of the processor."""
        assert self._process is not None
        now = time.monotonic()
        pids = self._inside()
        used = consumption(pids)
        if self._looks % _FOLDER_EVERY == 0:
            self._folder = folder_size(self._room.box, self._room.limits.folder_entries, _on_disk)
        self._looks += 1
        self._slow_down(pids, used.cpu, now)
        running = Usage(used.memory, used.count, *self._folder, running_for=now - self._started)
        return excess(running, self._room.limits)

    def stop(self, grace: float) -> None:
        """TERM to all inside, KILL after `grace` seconds. Blocks until all are gone."""
        assert self._process is not None
        inside = self._inside()
        send(inside, signal.SIGTERM)
        send(inside, signal.SIGCONT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        self.kill()

    def kill(self) -> None:
        """At once: with the first process of a process namespace the kernel ends all others of it."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            first = descendants(self._process.pid)[:1]
            send(first, signal.SIGKILL)
            self._process.kill()
        self._process.wait()
        if self._reader is not None:
            self._reader.join(1.0)
        limits = self._room.limits
        size, entries = folder_size(self._room.box, limits.folder_entries, _on_disk)
        if size > limits.folder_size or entries > limits.folder_entries:
            # Also because folders that lie deep enough in each other stop those who remove them later.
            clear_folder(self._room.box)

    def _inside(self) -> list[int]:
        assert self._process is not None
        return descendants(self._process.pid)[_INNER:]

    def _slow_down(self, pids: list[int], cpu: float, now: float) -> None:
        used, self._cpu_seen = max(0.0, cpu - self._cpu_seen), cpu
        within = self._budget.spend(used, now)
        if not within:
            self.slowed = True
            send(pids, signal.SIGSTOP)
        elif self._stopped:
            send(pids, signal.SIGCONT)
        self._stopped = not within

    def _read(self, output: int) -> None:
        with os.fdopen(output, "rb", buffering=0) as file:
            tell_lines(file, self._room.limits.output_rate, self._tell)


def _on_disk(entry: os.DirEntry[str]) -> int:
    return entry.stat(follow_symlinks=False).st_blocks * 512
