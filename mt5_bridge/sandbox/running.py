"""One sandbox from its start to its end: watched, slowed down, told about and ended. Linux only."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from mt5_bridge.sandbox.limits import Bucket, Usage, excess
from mt5_bridge.sandbox.processes import consumption, descendants, send
from mt5_bridge.sandbox.room import Room, command, user_id
from mt5_bridge.sandbox.seccomp import filter_program

_CHUNK: Final = 16 * 1024
LINE_BYTES: Final = 2000
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
            self._folder = _folder_size(self._room.box, self._room.limits.folder_entries)
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
        size, entries = _folder_size(self._room.box, limits.folder_entries)
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
        """Lines of what it prints, at a pace: what is not read yet makes it wait, and fills no disk."""
        rate = self._room.limits.output_rate
        budget = Bucket(rate, rate * 2, time.monotonic())
        line, skipping = bytearray(), False
        with os.fdopen(output, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                while not budget.take(len(chunk), time.monotonic()):
                    time.sleep(0.02)
                for piece in chunk.splitlines(keepends=True):
                    if not skipping:
                        line += piece[: LINE_BYTES - len(line) + 1]
                    ended = piece.endswith(b"\n")
                    if (ended or len(line) > LINE_BYTES) and not skipping:
                        self._tell(bytes(line[:LINE_BYTES]).strip())
                        line.clear()
                        skipping = not ended
                    elif ended:
                        skipping = False
        if line:
            self._tell(bytes(line).strip())


def read_plain(path: Path, most: int) -> bytes | None:
    """The first bytes of a plain file that strangers may have replaced by a link, a pipe or a folder. None then."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def clear_folder(folder: Path) -> None:
    """Remove all that is in it, however deep. Follows no links. What cannot be removed is left."""
    moved = 0
    stuck: set[str] = set()
    while waiting := [entry for entry in _entries(folder) if entry.name not in stuck]:
        for entry in waiting:
            try:
                if not entry.is_dir(follow_symlinks=False):
                    Path(entry.path).unlink()
                    continue
                for inner in _entries(Path(entry.path)):
                    if inner.is_dir(follow_symlinks=False):
                        # To the top, so that no path gets longer than the system allows.
                        Path(inner.path).rename(folder / f".cleared{moved}")
                        moved += 1
                    else:
                        Path(inner.path).unlink()
                Path(entry.path).rmdir()
            except OSError:
                stuck.add(entry.name)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return list(found)


def _folder_size(folder: Path, most: int) -> tuple[int, int]:
    """Bytes on disk and entries below a folder; stops counting behind `most` entries. Follows no links."""
    size, entries = 0, 0
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    if entries > most:
                        return size, entries
                    with suppress(OSError):
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(Path(entry.path))
        except OSError:
            continue
    return size, entries
