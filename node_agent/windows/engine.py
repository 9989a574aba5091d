"""Ends what runs in a job object, from its handle alone: for the agent, `mt5farm-agent down` and the watchdog."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from node_agent.process import Ending, Handle, Role
from node_agent.windows.orders import Close
from node_agent.windows.port import ProcessKey, Windows, WindowsCallError
from node_agent.windows.session import OwnSession, Session, TaskSession

KIND: Final = "windows_job"
JOB, CREATED, TASK, USER, ORDERS = "job", "created", "task", "user", "orders"
"""Facts of a handle. The last three are there for what runs as a user of its own."""
_KILL_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.05


def key_of(handle: Handle) -> ProcessKey:
    """The process that a handle names."""
    return ProcessKey(handle.pid, int(handle.facts[CREATED]))


class JobEngine:
    """Implements `process.Engine`. Whatever a terminal has started ends with it."""

    def __init__(
        self, windows: Windows, wait: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._windows = windows
        self._wait = wait
        self._clock = clock

    def stop(self, handle: Handle, grace: float) -> None:
        """WM_CLOSE, and the end of the job after `grace` seconds, or at once when there is no window to ask.

        A bridge worker has none, and its journal is made for an end at any moment.
        """
        if handle.slot.role is Role.TERMINAL and self._ask(handle):
            self._gone_within(handle, grace)
        self.kill(handle)

    def kill(self, handle: Handle) -> None:
        """Also what the process has left behind in the job."""
        with suppress(WindowsCallError):
            self._windows.terminate_job(handle.facts[JOB])
        with suppress(WindowsCallError):
            self._windows.terminate(key_of(handle))
        self._gone_within(handle, _KILL_SECONDS)

    def reap(self) -> None:
        """Windows keeps no zombies."""

    def ending(self, handle: Handle) -> Ending:
        """Out of memory when the job has once had all that it may have: Windows refuses more, and the program fails."""
        code = self._windows.exit_code(key_of(handle))
        with suppress(WindowsCallError):
            limits, stats = self._windows.job_limits(handle.facts[JOB]), self._windows.job_stats(handle.facts[JOB])
            if limits and stats and limits.memory:
                return Ending(code, out_of_memory=bool(code) and stats.peak_memory >= limits.memory)
        return Ending(code)

    def _ask(self, handle: Handle) -> int:
        try:
            return self._session(handle).close(Close(key_of(handle)))
        except (WindowsCallError, OSError):
            return 0

    def _session(self, handle: Handle) -> Session:
        if TASK in handle.facts:
            return TaskSession(
                self._windows,
                handle.facts[TASK],
                handle.facts[USER],
                Path(handle.facts[ORDERS]),
                self._wait,
                self._clock,
            )
        return OwnSession(self._windows)

    def _gone_within(self, handle: Handle, seconds: float) -> None:
        deadline = self._clock() + seconds
        while self._windows.is_running(key_of(handle)) and self._clock() < deadline:
            self._wait(_LOOK_SECONDS)
