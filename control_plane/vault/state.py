"""What brokers made of a password, and when the next one may be tried: brokers lock accounts and addresses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

REFUSAL_WINDOW = timedelta(hours=1)


class Verdict(StrEnum):
    UNTRIED = ""
    ACCEPTED = "accepted"
    REFUSED = "refused"


def waits_until(refusals: Sequence[datetime], budget: int, now: datetime) -> datetime | None:
    """When a password that the broker has not seen yet may be tried; None for at once.

    `refusals` are the times at which the broker refused others; those of the last hour count against the budget.
    """
    recent = sorted(at for at in refusals if at > now - REFUSAL_WINDOW)
    return recent[len(recent) - budget] + REFUSAL_WINDOW if len(recent) >= budget else None
