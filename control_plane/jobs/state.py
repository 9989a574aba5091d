"""States of a job, and when a failed one is tried again."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

MOST_ATTEMPTS = 8


class JobKind(StrEnum):
    PLACE_TERMINAL = "place_terminal"
    SEND_MAIL = "send_mail"


class JobState(StrEnum):
    QUEUED = "queued"
    DONE = "done"
    DEAD = "dead"
    """Given up; a person has to look at it."""


def back_off(attempts: int) -> timedelta:
    """Pause after the n-th failed attempt: 1 s, doubling to at most 5 min."""
    return timedelta(seconds=min(2 ** (attempts - 1), 300))
