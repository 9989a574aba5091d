"""States of a job, and when a failed one is tried again."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

MOST_ATTEMPTS = 20
CLAIM = timedelta(seconds=60)
"""How long a job belongs to the worker that took it. A job that takes longer may be run twice at once."""
ANNOUNCED_AGAIN_AFTER = timedelta(seconds=30)
"""A message about a job that nobody has acted on for so long counts as lost."""


class JobKind(StrEnum):
    PLACE_TERMINAL = "place_terminal"
    SEND_MAIL = "send_mail"
    SPREAD_KILL_SWITCH = "spread_kill_switch"
    RUN_BACKTEST = "run_backtest"
    DELIVER_ALERT = "deliver_alert"


TO_STRANGERS = frozenset({JobKind.DELIVER_ALERT})
"""They wait for machines of users, which may answer as slowly as they like."""


class JobState(StrEnum):
    QUEUED = "queued"
    """Waits for its time, or is being carried out."""
    DONE = "done"
    DEAD = "dead"
    """Given up; a person has to look at it, and may have it tried again."""


def back_off(attempts: int) -> timedelta:
    """Pause after the n-th failed attempt: 1 s, doubling to at most 5 min. The 20 attempts take about an hour."""
    return timedelta(seconds=min(2 ** (attempts - 1), 300))
