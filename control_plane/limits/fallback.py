"""Shared budgets while their store answers, this process's own while it does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog

from control_plane.limits.memory import MemoryBudgets
from control_plane.limits.port import Budgets, BudgetsUnreachableError
from control_plane.limits.rate import Bucket, Standing

_PAUSE_SECONDS = 5.0
"""A store that is away is not asked by every request: each would wait for it in vain."""
_log = structlog.get_logger(__name__)


class FallbackBudgets:
    def __init__(self, shared: Budgets, seconds: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._own = MemoryBudgets()
        self._seconds = seconds
        self._ask_again_at = 0.0
        self._problem = ""

    @property
    def problem(self) -> str:
        """Why each process counts for itself; empty while they count together."""
        return self._problem

    def take(self, buckets: Sequence[Bucket], now: int) -> Standing:
        if self._seconds() >= self._ask_again_at:
            try:
                found = self._shared.take(buckets, now)
            except BudgetsUnreachableError as error:
                self._ask_again_at = self._seconds() + _PAUSE_SECONDS
                self._tell(f"each process counts requests by itself: {error}")
            else:
                self._tell("")
                return found
        return self._own.take(buckets, now)

    def _tell(self, problem: str) -> None:
        if problem and not self._problem:
            _log.warning("limits_not_shared", error=problem)
        elif self._problem and not problem:
            _log.info("limits_shared_again")
        self._problem = problem
