"""The processes of this node: one per slot, started, watched and stopped here and nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from node_agent.clock import Clock
from node_agent.errors import StorageError
from node_agent.process import (
    PROCESS,
    Children,
    Engine,
    Handle,
    Slot,
    birth_of,
    is_alive,
    running_commands,
)
from node_agent.state import StateStore

_log = structlog.get_logger(__name__)
ADOPTED = "adopted"
"""Fingerprint of a process whose settings are not known, so that it is replaced when its role allows that."""


@dataclass(frozen=True)
class Exit:
    """A process that ended without being asked to."""

    handle: Handle
    code: int | None
    """Negative: killed by that signal. None: not our child, so nobody knows."""
    out_of_memory: bool = False


@dataclass(frozen=True)
class Candidate:
    """A command line that some slot would be running, to recognise an orphan by."""

    slot: Slot
    command: tuple[str, ...]


class Roster:
    """Thread-safe. A process is recorded on disk before anyone relies on it.

    `engines` end what is no plain process, by kind of handle. A handle of a kind that this agent does not know is still
    a process of this machine, and is ended as one.
    """

    def __init__(
        self, state: StateStore, children: Children, clock: Clock, engines: Mapping[str, Engine] | None = None
    ) -> None:
        self._state = state
        self._children = children
        self._engines: dict[str, Engine] = {**(engines or {}), PROCESS: children}
        self._clock = clock
        self._lock = threading.Lock()
        now = clock()
        # An agent that went by another time base may have written a start that is yet to come.
        known = (replace(handle, started_at=min(handle.started_at, now)) for handle in state.handles())
        self._handles = {handle.slot: handle for handle in known}
        self._entered: Callable[[Handle], None] | None = None

    def on_entered(self, tell: Callable[[Handle], None]) -> None:
        """`tell` is called with each process that is entered from now on, in the thread that started it."""
        self._entered = tell

    def adopt(self, candidates: Iterable[Candidate]) -> list[Handle]:
        """Take over running processes whose handle was lost between start and record. Call once, at start."""
        wanted = {candidate.command[1:]: candidate.slot for candidate in candidates}
        adopted = []
        for pid, command in running_commands():
            slot = wanted.get(tuple(command[1:]))
            if slot is None or self.running(slot) is not None:
                continue
            birth = birth_of(pid)
            if birth is not None:
                handle = Handle(slot, pid, birth, self._clock(), ADOPTED)
                self._record(handle)
                adopted.append(handle)
        return adopted

    def start(self, slot: Slot, command: Sequence[str], output: Path, fingerprint: str) -> Handle:
        """Raises OSError when it cannot be started, StorageError when it cannot be recorded (then it is stopped)."""
        handle = self._children.start(slot, command, output, fingerprint, self._clock())
        return self.enter(handle)

    def enter(self, handle: Handle) -> Handle:
        """Take note of what a runtime has started. Raises StorageError when that cannot be done (then it is killed)."""
        try:
            self._record(handle)
        except StorageError:
            self._engine(handle).kill(handle)
            raise
        slot = handle.slot
        _log.info("process_started", role=slot.role.value, id=slot.id, pid=handle.pid, kind=handle.kind)
        return handle

    def _engine(self, handle: Handle) -> Engine:
        return self._engines.get(handle.kind, self._children)

    def _record(self, handle: Handle) -> None:
        self._state.save_handle(handle)
        with self._lock:
            self._handles[handle.slot] = handle
        if self._entered is not None:
            self._entered(handle)

    def running(self, slot: Slot) -> Handle | None:
        with self._lock:
            handle = self._handles.get(slot)
        return handle if handle is not None and is_alive(handle) else None

    def of(self, owner: str) -> list[Handle]:
        """Recorded processes of one terminal, dead ones included until `exits` has reported them."""
        with self._lock:
            return [handle for slot, handle in self._handles.items() if slot.owner == owner]

    def owners(self) -> set[str]:
        with self._lock:
            return {slot.owner for slot in self._handles if slot.owner}

    def exits(self) -> list[Exit]:
        """Processes that died by themselves since the last call."""
        for engine in self._engines.values():
            engine.reap()
        with self._lock:
            dead = [handle for handle in self._handles.values() if not is_alive(handle)]
            for handle in dead:
                del self._handles[handle.slot]
        for handle in dead:
            self._forget(handle)
        endings = [(handle, self._engine(handle).ending(handle)) for handle in dead]
        return [Exit(handle, ending.code, ending.out_of_memory) for handle, ending in endings]

    def stop(self, slot: Slot, grace: float) -> None:
        """TERM then KILL. Blocks; does nothing when the slot is empty. Raises TimeoutError when it does not end."""
        if handle := self._take(slot):
            self._engine(handle).stop(handle, grace)
            self._let_go(handle)
            _log.info("process_stopped", role=slot.role.value, id=slot.id, pid=handle.pid)

    def stop_all(self, slots: Sequence[Slot], grace: float) -> None:
        """Stop several at once, so that slow ones do not wait for each other. Blocks; what does not end is logged."""
        threads = [threading.Thread(target=self._try_stop, args=(slot, grace)) for slot in slots]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _try_stop(self, slot: Slot, grace: float) -> None:
        try:
            self.stop(slot, grace)
        except TimeoutError as error:
            _log.error("process_not_stopped", role=slot.role.value, id=slot.id, error=str(error))

    def kill(self, slot: Slot) -> None:
        """KILL at once. Blocks for a moment; does nothing when the slot is empty. Raises TimeoutError like `stop`."""
        if handle := self._take(slot):
            self._engine(handle).kill(handle)
            self._let_go(handle)
            _log.warning("process_killed", role=slot.role.value, id=slot.id, pid=handle.pid)

    def _take(self, slot: Slot) -> Handle | None:
        # Out of the map first, so that a wanted end is never reported as an exit.
        with self._lock:
            return self._handles.pop(slot, None)

    def _let_go(self, handle: Handle) -> None:
        # A process in the middle of the kernel's work may outlive KILL for a while. As long as it lives its slot stays
        # taken: nobody may be told that it has ended, and nothing may be started beside it.
        if is_alive(handle):
            with self._lock:
                self._handles[handle.slot] = handle
            raise TimeoutError(f"process {handle.pid} has not ended although it was killed")
        self._forget(handle)

    def _forget(self, handle: Handle) -> None:
        try:
            self._state.drop_handle(handle)
        except StorageError as error:
            # The row names a dead process: harmless, since its birth matches nothing that will ever run.
            _log.error("handle_not_dropped", role=handle.slot.role.value, id=handle.slot.id, error=str(error))
