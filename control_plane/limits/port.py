"""What a store of budgets must do. It may forget everything: then everybody has rested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from control_plane.limits.rate import Bucket, Standing


class BudgetsUnreachableError(Exception):
    """The store does not answer. The text names no host and no secret."""


class Budgets(Protocol):
    @property
    def problem(self) -> str:
        """Why each process counts for itself; empty while they count together."""
        ...

    def take(self, buckets: Sequence[Bucket], now: int) -> Standing:
        """Take one request from all buckets or, when one of them is empty, from none; in one step, from any thread.

        `now` is in microseconds of Unix time. Answers how the caller stands with the bucket nearest to its end. Raises
        BudgetsUnreachableError.
        """
        ...
