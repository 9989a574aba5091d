"""Carries out due jobs here, one after the other."""

from __future__ import annotations

from collections.abc import Collection

from control_plane.jobs.runner import JobRunner
from control_plane.jobs.state import JobKind


class InProcessExecutor:
    """Those of some kinds. What waits for strangers has a thread of its own, so that nothing else waits for them."""

    def __init__(self, runner: JobRunner, kinds: Collection[JobKind] = tuple(JobKind)) -> None:
        self._runner = runner
        self._kinds = kinds

    def work(self) -> None:
        while self._runner.run_next(self._kinds):
            pass
