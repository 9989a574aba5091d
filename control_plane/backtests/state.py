"""States of a backtest: what has been seen of it."""

from __future__ import annotations

from enum import StrEnum


class BacktestState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ALLOWED: dict[BacktestState, frozenset[BacktestState]] = {
    BacktestState.QUEUED: frozenset({BacktestState.RUNNING, BacktestState.CANCELLED, BacktestState.FAILED}),
    # Back to the queue when the process that ran it is gone.
    BacktestState.RUNNING: frozenset(
        {BacktestState.QUEUED, BacktestState.DONE, BacktestState.FAILED, BacktestState.CANCELLED}
    ),
    BacktestState.DONE: frozenset(),
    BacktestState.FAILED: frozenset(),
    BacktestState.CANCELLED: frozenset(),
}
OPEN = frozenset({BacktestState.QUEUED, BacktestState.RUNNING})


def may_become(present: BacktestState, wanted: BacktestState) -> bool:
    return wanted in _ALLOWED[present]
