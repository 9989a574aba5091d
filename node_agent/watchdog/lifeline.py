"""The lease of this node, and who is told of it: the watchdog by the fence file, the bridges by lease files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

import structlog

from mt5_bridge.lease import Lease, Moment, Readings, read_lease, write_lease
from node_agent.handles import handle_to_data
from node_agent.layout import DataLayout
from node_agent.lease import Stage, fencing, latest, renewed, stage, trade_lease
from node_agent.process import Handle
from node_agent.protocol.messages import DesiredTerminal
from node_agent.roster import Roster
from node_agent.watchdog.fence_file import UNREAD, Fence, Ward, are_covered, read_beat, read_fence, write_fence

_log = structlog.get_logger(__name__)
_SILENT_SECONDS = 3.0


class Lifeline:
    """Thread-safe. Nothing counts that was not written down first: a lease that the watchdog cannot see is not renewed,
    a terminal that it was not told of is not started.
    """

    def __init__(self, layout: DataLayout, roster: Roster, clocks: Callable[[], Moment]) -> None:
        self._layout = layout
        self._roster = roster
        self._clocks = clocks
        self._lock = threading.Lock()
        self._wanted: dict[str, int] = {}
        self._leaving: dict[str, int] = {}
        self._readings = Readings()
        self._written_at = 0.0
        self.problem: str | None = None
        """Why it cannot be written down, for the operator."""
        known = self._read()
        # A restart of the agent neither lengthens nor shortens the lease.
        self._lease = known.lease if known else None
        self._sequence = known.sequence if known else UNREAD
        self._epochs = {each: ward.epoch for each, ward in known.wards.items()} if known else {}
        """Of all that the watchdog is to know of: what is wanted here, and what is leaving."""
        self._told: Mapping[str, Ward] = known.wards if known else {}
        roster.on_entered(self._entered)

    def _read(self) -> Fence | None:
        try:
            known = read_fence(self._layout.fence)
            if known is None:
                return None
            return replace(known, lease=latest(known.lease, read_lease(self._layout.fence_lease)))
        except (OSError, ValueError) as error:
            _log.error("fence_unreadable", error=str(error))
            return None

    def stage(self) -> Stage:
        """What must happen to terminals that fence themselves."""
        lease, now = self._lease, self._clocks()
        return stage(lease, now if lease is None else self._readings.of(lease.since, now))

    def is_fresh(self) -> bool:
        """Whether most of the lease is left, or nothing here depends on it."""
        lease = self._lease
        if not self._epochs:
            return True
        return lease is not None and lease.left(self._readings.of(lease.since, self._clocks())) > lease.seconds / 2

    def protect(self, terminals: Iterable[DesiredTerminal]) -> None:
        """From now on these must die when the lease is over, as far as they fence themselves."""
        with self._lock:
            self._tell(self._wards_for(terminals), self._lease)

    def renew(self, sent_at: Moment, fence_seconds: float | None, terminals: Iterable[DesiredTerminal] | None) -> None:
        """After an answered sync; `terminals` is None when it brought no new snapshot.

        `fence_seconds` is None when the control plane fences nothing.
        """
        with self._lock:
            lease = self._lease if fence_seconds is None else renewed(self._lease, sent_at, fence_seconds)
            self._tell(self._wards_for(terminals), lease)

    def may_start(self, terminal_id: str) -> bool:
        """Asked just before something of the terminal is started. Raises OSError."""
        with self._lock:
            if terminal_id not in self._epochs:
                return True
            self._write_trade_lease(terminal_id, self._lease)
            return terminal_id in self._told and self.stage() is Stage.HELD

    def _entered(self, handle: Handle) -> None:
        with self._lock:
            if handle.slot.owner in self._epochs:
                self._write(self._epochs, self._lease)

    def _wards_for(self, terminals: Iterable[DesiredTerminal] | None) -> dict[str, int]:
        """Also what is no longer wanted here and still runs: until it is gone nobody else may hold it."""
        if terminals is not None:
            known = list(terminals)
            self._wanted = fencing(known)
            kept = {each.terminal_id for each in known}
            self._leaving |= {each: epoch for each, epoch in self._epochs.items() if each not in kept}
        self._leaving = {
            each: epoch for each, epoch in self._leaving.items() if each not in self._wanted and self._roster.of(each)
        }
        return self._leaving | self._wanted

    def _tell(self, epochs: dict[str, int], lease: Lease | None) -> None:
        released = self._epochs.keys() - epochs.keys()
        self._epochs = epochs
        if (epochs or self._told) and not self._write(epochs, lease):
            return
        self._lease = lease
        for terminal_id in released:
            self._layout.terminal(terminal_id).lease.unlink(missing_ok=True)

    def _write(self, epochs: dict[str, int], lease: Lease | None) -> bool:
        wards = {terminal_id: self._ward(terminal_id, epoch) for terminal_id, epoch in epochs.items()}
        try:
            self._tell_watchdog(wards, lease)
            for terminal_id in wards:
                self._write_trade_lease(terminal_id, lease)
        except OSError as error:
            self.problem = f"the lease cannot be written down: {error.strerror}"
            _log.error("lease_not_written", error=str(error))
            return False
        finally:
            self._written_at = self._clocks().elapsed
        self.problem = None
        return True

    def _tell_watchdog(self, wards: Mapping[str, Ward], lease: Lease | None) -> None:
        """A full disk must not end terminals whose node is in touch: a lease alone needs no room. Raises OSError."""
        beside = self._layout.fence_lease
        try:
            write_fence(self._layout.fence, Fence(self._sequence + 1, lease, wards))
        except OSError:
            if lease is None or not are_covered(wards, self._told):
                raise
            write_lease(beside, lease)
            return
        self._sequence += 1
        self._told = wards
        if lease is not None:
            with suppress(OSError):  # what is in the fence file is as new
                write_lease(beside, lease)

    def _write_trade_lease(self, terminal_id: str, lease: Lease | None) -> None:
        layout = self._layout.terminal(terminal_id)
        if layout.root.is_dir():
            write_lease(layout.lease, Lease(self._clocks(), 0.0) if lease is None else trade_lease(lease))

    def _ward(self, terminal_id: str, epoch: int) -> Ward:
        handles = tuple(handle_to_data(handle) for handle in self._roster.of(terminal_id))
        return Ward(epoch, str(self._layout.terminal(terminal_id).root), handles)

    def is_seen_by(self, pid: int) -> bool:
        """Whether the watchdog of that pid is awake and goes by what was written."""
        beat, now = read_beat(self._layout.beat), self._clocks().elapsed
        if beat is None or beat.pid != pid or not 0 <= now - beat.elapsed <= _SILENT_SECONDS:
            return False
        return beat.sequence == self._sequence or now - self._written_at <= _SILENT_SECONDS
