"""How long the calls of a terminal took, in counts that can be added up over terminals and over time."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the classes in seconds; one class more is for what took longer."""


class CallTimes:
    """Counts from one thread; another may read at any time."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        """Of each class by itself, not of all below it."""
        self.seconds = 0.0
        """Of all calls together."""

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds
