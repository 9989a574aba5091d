"""What the watchdog does at each look: read the fence file, kill what is overdue, give a sign of life."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from mt5_bridge.lease import Lease, Moment, Readings, read_clocks, read_lease
from node_agent.handles import handle_from_data
from node_agent.lease import Stage, latest, stage
from node_agent.process import PROCESS, Handle, is_alive, running_commands
from node_agent.watchdog.fence_file import (
    BEAT_FILE,
    FENCE_FILE,
    LEASE_FILE,
    UNREAD,
    Beat,
    Fence,
    Ward,
    parse_fence,
    write_beat,
)

_BEAT_SECONDS: Final = 1.0
_SWEEP_SECONDS: Final = 1.0
_KILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has one way to end a process, under this name

log = logging.getLogger(__name__)


class Duty:
    """Nothing here raises: what fails is logged and tried again at the next look."""

    def __init__(self, data: Path, clocks: Callable[[], Moment] = read_clocks) -> None:
        self._path = data / FENCE_FILE
        self._lease_path = data / LEASE_FILE
        self._beat_path = data / BEAT_FILE
        self._clocks = clocks
        self._readings = Readings()
        self._read = b""
        self._fence: Fence | None = None
        self._beat_at = -_BEAT_SECONDS
        self._swept_at = -_SWEEP_SECONDS
        self._asked: set[tuple[int, str]] = set()

    def look(self) -> None:
        self.end_overdue()
        now = self._clocks()
        if now.elapsed - self._beat_at >= _BEAT_SECONDS:
            self._beat(now)

    def end_overdue(self) -> None:
        """Without a sign of life: the agent does this as well as long as it has no watchdog."""
        self._reload()
        now = self._clocks()
        fence = self._fence
        if fence is not None and fence.wards and self._stage(fence, now) is Stage.KILL:
            self._kill_all(fence, now)

    def _reload(self) -> None:
        try:
            # As a whole each time: number and time of the file may be those of one that it has replaced a moment ago.
            content = self._path.read_bytes()
            if content != self._read:
                self._fence = parse_fence(content)
                self._read = content
        except FileNotFoundError:
            return  # before the first sync; a file that went away takes back nothing
        except (OSError, ValueError) as error:
            log.error("the fence file cannot be read: %s", error)  # noqa: TRY400 - its trace says nothing

    def _stage(self, fence: Fence, now: Moment) -> Stage:
        lease = self._lease(fence)
        return stage(lease, now if lease is None else self._readings.of(lease.since, now))

    def _lease(self, fence: Fence) -> Lease | None:
        try:
            return latest(fence.lease, read_lease(self._lease_path))
        except (OSError, ValueError):
            return fence.lease

    def _beat(self, now: Moment) -> None:
        sequence = UNREAD if self._fence is None else self._fence.sequence
        try:
            write_beat(self._beat_path, Beat(os.getpid(), sequence, now.elapsed))
            self._beat_at = now.elapsed
        except OSError as error:
            log.error("no sign of life can be given: %s", error)  # noqa: TRY400 - its trace says nothing

    def _kill_all(self, fence: Fence, now: Moment) -> None:
        for terminal_id, ward in fence.wards.items():
            for data in ward.handles:
                self._kill(terminal_id, data)
        if now.elapsed - self._swept_at >= _SWEEP_SECONDS:
            self._swept_at = now.elapsed
            self._sweep(fence.wards)

    def _kill(self, terminal_id: str, data: Mapping[str, Any]) -> None:
        try:
            handle = handle_from_data(data)
        except (KeyError, ValueError, TypeError):
            log.error("a handle of %s is none", terminal_id)  # noqa: TRY400 - its trace says nothing
            return
        if not is_alive(handle):
            return
        log.warning("lease over: killing %s of %s, process %d", handle.slot.role.value, terminal_id, handle.pid)
        # Every handle names a process of this machine, whose end is the end of what it holds (a container, say).
        _send_kill(handle.pid)
        if handle.kind != PROCESS:
            self._ask_engine(handle, data)

    def _ask_engine(self, handle: Handle, data: Mapping[str, Any]) -> None:
        """Once for each: the engine may wait for a daemon that hangs, so it has a thread."""
        if (handle.pid, handle.birth) not in self._asked:
            self._asked.add((handle.pid, handle.birth))
            threading.Thread(target=_kill_by_engine, args=(dict(data),), daemon=True).start()

    def _sweep(self, wards: Mapping[str, Ward]) -> None:
        """End what was started and not told of: the agent may have been stopped between the two."""
        roots = {f"{ward.root}{os.sep}": terminal_id for terminal_id, ward in wards.items()}
        for pid, command in running_commands():
            line = "\0".join(command)
            owner = next((terminal_id for root, terminal_id in roots.items() if root in line), None)
            if owner is not None and pid != os.getpid():
                log.warning("lease over: killing process %d of %s, which was not told of", pid, owner)
                _send_kill(pid)


def _send_kill(pid: int) -> None:
    try:
        os.kill(pid, _KILL)
    except ProcessLookupError:
        return
    except OSError as error:  # Windows says this of a process that has just gone
        log.error("process %d cannot be killed: %s", pid, error)  # noqa: TRY400 - its trace says nothing


def _kill_by_engine(data: Mapping[str, Any]) -> None:
    # Imported only now, since it brings the whole agent with it.
    from node_agent.runtimes.installed import kill

    try:
        kill(data)
    except Exception:
        log.exception("the engine could not end process %s", data.get("pid"))
