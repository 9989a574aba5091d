"""Who sees to it that due jobs are carried out: this process, or workers elsewhere."""

from __future__ import annotations

from typing import Protocol


class Executor(Protocol):
    def work(self) -> None:
        """One round, called every second and soon after a job was put: nothing that is due may wait for longer.

        The rows are the truth: whatever an executor keeps elsewhere may vanish at any time.
        """
        ...
