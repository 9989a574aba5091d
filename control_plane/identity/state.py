"""Roles, and how long a sign-in has to wait after failures."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

FAILURE_WINDOW = timedelta(minutes=15)
_FREE_FAILURES = 5
_LONGEST_WAIT = timedelta(minutes=2)


OPERATOR = "operator"
"""Kind of the tenant to whom the farm belongs."""


class Role(StrEnum):
    TRADER = "trader"
    SUPPORT = "support"
    OPS = "ops"
    BROKER_ADMIN = "broker_admin"
    OWNER = "owner"


OPS_ROLES = frozenset({Role.OWNER, Role.OPS})
"""Who runs the fleet."""


def sign_in_wait(failures: int, last_failure: datetime | None, now: datetime) -> timedelta:
    """How much longer the next attempt for an address must wait: 1 s after the fifth failure, then doubling."""
    if last_failure is None or failures < _FREE_FAILURES:
        return timedelta(0)
    pause = min(timedelta(seconds=2 ** min(failures - _FREE_FAILURES, 10)), _LONGEST_WAIT)
    return max(last_failure + pause - now, timedelta(0))
