"""The rule of rate limits: GCRA, a token bucket that needs one number for each caller.

That number is the moment at which the caller's whole budget is there again; each request puts it off by the budget's
share of one. All moments are whole microseconds of Unix time, so that every store counts exactly alike.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

PATTERN = r"^[1-9][0-9]{0,8}/[1-9][0-9]{0,4}$"
"""A rate as text: requests / seconds."""
_SECOND = 1_000_000


@dataclass(frozen=True)
class Rate:
    """So many requests in so many seconds: at once after a rest, evenly when they never rest."""

    count: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Raises ValueError."""
        if not re.fullmatch(PATTERN, text):
            raise ValueError(f"{text!r} is no rate; say requests/seconds, such as 600/60")
        count, _, seconds = text.partition("/")
        return cls(int(count), int(seconds))

    def __str__(self) -> str:
        return f"{self.count}/{self.seconds}"

    @property
    def interval(self) -> int:
        """Microseconds that one request costs."""
        return max(1, self.seconds * _SECOND // self.count)

    @property
    def window(self) -> int:
        """Microseconds that the whole budget costs."""
        return self.interval * self.count


@dataclass(frozen=True)
class Bucket:
    """Somebody's budget. `name` says whose in words for callers, `key` is the one it is stored under."""

    name: str
    key: str
    rate: Rate


@dataclass(frozen=True)
class Standing:
    """How a caller stands with the budget that is nearest to its end, after the request or its refusal."""

    name: str
    rate: Rate
    allowed: bool
    remaining: int
    """Requests that would be allowed right now."""
    retry_after: int
    """Whole seconds until one would be allowed; 0 when one is now."""
    reset_after: int
    """Whole seconds until the whole budget is there again."""


def after_one(full_at: int, rate: Rate, now: int) -> int | None:
    """When the whole budget will be there again if one request is taken at `now`; None when it must be refused.

    `full_at` is that moment before the request. One further ahead than any budget reaches is from a clock that has
    been set back since, and counts as an empty budget.
    """
    later = min(max(full_at, now), now + rate.window) + rate.interval
    return later if later <= now + rate.window else None


def standing(bucket: Bucket, full_at: int, now: int, *, allowed: bool) -> Standing:
    """As it is with this `full_at`."""
    rate = bucket.rate
    owed = min(max(full_at - now, 0), rate.window)
    remaining = (rate.window - owed) // rate.interval
    missing = 0 if remaining else owed + rate.interval - rate.window
    return Standing(bucket.name, rate, allowed, remaining, _seconds(missing), _seconds(owed))


def nearest_to_its_end(standings: list[Standing]) -> Standing:
    """The one that a caller should know of: what refuses first, then what is left in proportion."""
    return min(standings, key=lambda each: (each.remaining > 0, -each.retry_after, each.remaining / each.rate.count))


def _seconds(microseconds: int) -> int:
    return math.ceil(microseconds / _SECOND)
