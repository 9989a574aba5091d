"""Where the agent gets the time from; decision code takes a `Clock`, so tests can turn it by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], float]
"""Seconds since 1970, UTC."""

system_clock: Clock = time.time


def as_datetime(seconds: float) -> datetime:
    """UTC-aware datetime of `seconds` since 1970."""
    return datetime.fromtimestamp(seconds, UTC)
