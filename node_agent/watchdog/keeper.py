"""Keeps the watchdog process of the node running, and believes only what it shows."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import structlog

from node_agent.clock import Clock
from node_agent.errors import StorageError
from node_agent.layout import DataLayout
from node_agent.process import Role, Slot
from node_agent.restarts import NO_EXITS, RestartPolicy
from node_agent.roster import Candidate, Exit, Roster
from node_agent.watchdog.duty import Duty
from node_agent.watchdog.lifeline import Lifeline

_log = structlog.get_logger(__name__)
SLOT = Slot(Role.WATCHDOG)
_FINGERPRINT = "watchdog-1"
_HANGS_SECONDS = 10.0


def output_of(layout: DataLayout) -> Path:
    return layout.root / "watchdog.log"


class WatchdogKeeper:
    """The watchdog outlives the agent. Called on the event loop; nothing here waits, but the killing of a hung one."""

    def __init__(
        self,
        layout: DataLayout,
        lifeline: Lifeline,
        roster: Roster,
        module: str,
        policy: RestartPolicy,
        clock: Clock,
        duty: Duty,
    ) -> None:
        """`duty` is done here while no watchdog runs: one that died after the last report is still counted upon."""
        self._output = output_of(layout)
        self._lifeline = lifeline
        self._roster = roster
        self._command = [sys.executable, "-m", module, "--data", str(layout.root)]
        self._policy = policy
        self._clock = clock
        self._duty = duty
        self._restarts = NO_EXITS
        self._seen_at = clock()

    def recover(self) -> None:
        """Find a watchdog whose handle was lost."""
        self._roster.adopt([Candidate(SLOT, tuple(self._command))])

    def note_exit(self, ended: Exit) -> None:
        """The watchdog died; it is started again after its back-off."""
        now, jitter = self._clock(), random.uniform(-1, 1)  # noqa: S311 - spreads restarts, guards nothing
        self._restarts = self._restarts.after_exit(self._policy, ended.handle.started_at, now, jitter)
        _log.error("watchdog_down", code=ended.code)

    def tick(self) -> None:
        """Start the watchdog when it should run and does not, and replace one that hangs."""
        now, running = self._clock(), self._roster.running(SLOT)
        if running is not None and self._lifeline.is_seen_by(running.pid):
            self._seen_at = now
        if running is not None and now - max(self._seen_at, running.started_at) > _HANGS_SECONDS:
            _log.error("watchdog_hangs", pid=running.pid)
            self._roster.kill(SLOT)
            running = None
        if running is None and self._restarts.may_start(now):
            try:
                self._roster.start(SLOT, self._command, self._output, _FINGERPRINT)
            except (OSError, StorageError) as error:
                self._restarts = self._restarts.delayed_until(now + self._policy.base)
                _log.error("watchdog_not_started", error=str(error))
        if self._roster.running(SLOT) is None:
            self._duty.end_overdue()

    def is_up(self) -> bool:
        """Whether the present watchdog is awake, goes by the newest lease, and knows all that must die with it."""
        running = self._roster.running(SLOT)
        return running is not None and self._lifeline.problem is None and self._lifeline.is_seen_by(running.pid)
