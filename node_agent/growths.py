"""Reads now and then how much memory each terminal takes, and keeps that with its record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future

import structlog

from node_agent.process import Handle, Role, Slot
from node_agent.record import TerminalRecord
from node_agent.recycling import Candidate, Growth, RecyclePolicy, choose
from node_agent.roster import Roster
from node_agent.runtimes.base import LaunchError, Usage

_log = structlog.get_logger(__name__)


class Growths:
    """Asked at each tick; the reading itself is done on a thread, since it may wait for an engine."""

    def __init__(self, roster: Roster, stats: Callable[[str], Usage | None], policy: RecyclePolicy) -> None:
        self._roster = roster
        self._stats = stats
        self._policy = policy
        self._read_at = 0.0
        self._reading: Future[dict[str, tuple[Handle, int]]] | None = None

    def to_recycle(
        self, records: Mapping[str, TerminalRecord], pool: Executor, now: float, *, short_of_memory: bool
    ) -> str | None:
        """Id of the terminal to start anew now."""
        self._look(records, pool, now)
        candidates = [
            Candidate(record.growth, record.probe.flat if record.probe else None, record.recycled_at)
            for record in records.values()
            if record.growth is not None and not record.in_flight
        ]
        return choose(candidates, short_of_memory=short_of_memory, now=now, policy=self._policy)

    def _look(self, records: Mapping[str, TerminalRecord], pool: Executor, now: float) -> None:
        """Take in what was read, and read again when it is time."""
        if self._reading is not None and self._reading.done():
            for terminal_id, (handle, memory) in self._reading.result().items():
                if record := records.get(terminal_id):
                    record.growth = self._after(record.growth, handle, memory, now)
            self._reading = None
        if self._reading is None and now - self._read_at >= self._policy.read_every:
            self._read_at = now
            self._reading = pool.submit(self._read, list(records))

    def _read(self, terminal_ids: list[str]) -> dict[str, tuple[Handle, int]]:
        found = {}
        for terminal_id in terminal_ids:
            handle = self._roster.running(Slot(Role.TERMINAL, terminal_id))
            if handle is None:
                continue
            try:
                usage = self._stats(terminal_id)
            except (LaunchError, OSError) as error:
                _log.warning("stats_unknown", terminal=terminal_id, error=str(error))
                continue
            if usage is not None:
                found[terminal_id] = handle, usage.memory
        return found

    def _after(self, known: Growth | None, handle: Handle, memory: int, now: float) -> Growth:
        if known is None or (known.pid, known.started_at) != (handle.pid, handle.started_at):
            known = Growth(handle.slot.owner, handle.pid, handle.started_at, memory, memory)
        return known.read_again(memory, now, self._policy)
