"""Carries out due jobs here, one after the other."""

from __future__ import annotations

from control_plane.jobs.runner import JobRunner


class InProcessExecutor:
    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner

    def work(self) -> None:
        while self._runner.run_next():
            pass
