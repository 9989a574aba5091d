"""How much of the time a terminal served its account. Pure.

Counted from what was written down: when its answers began and ceased, when nobody reported, and when its owner wanted
it at all. Each mark says what was before it, so that the oldest mark in sight tells the state at the beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from control_plane.terminals.state import Hold, Intent, should_run
from node_agent.protocol.messages import Phase, Reason

ANSWER_COUNTS = timedelta(seconds=30)
"""A terminal that has answered within this time serves; a call that takes longer counts as wedged."""
_SERVES_ALL_THE_SAME = frozenset({None, Reason.ALGO_TRADING_OFF})
"""Why a degraded terminal may be: logged in while the market is closed, or with trading switched off by its owner."""


class Service(StrEnum):
    """What the owner of the account got from the terminal."""

    UP = "up"
    """A real call was answered for the right account, which is connected to its broker."""
    DOWN = "down"
    UNKNOWN = "unknown"
    """Nobody reported: the node was silent, or the control plane was away."""
    OFF = "off"
    """It was not wanted: stopped by its owner or held. Never recorded; it follows from intent and hold."""


class MarkKind(StrEnum):
    """What a mark changes; the values are those of recorded transitions."""

    SERVICE = "service"
    INTENT = "intent"
    HOLD = "hold"


@dataclass(frozen=True)
class Mark:
    """A change that is written down."""

    at: datetime
    kind: MarkKind
    before: str


@dataclass(frozen=True)
class Present:
    """The state at the end of what is looked at."""

    service: Service
    intent: Intent
    hold: Hold

    def before(self, mark: Mark) -> Present:
        match mark.kind:
            case MarkKind.SERVICE:
                return replace(self, service=Service(mark.before))
            case MarkKind.INTENT:
                return replace(self, intent=Intent(mark.before))
            case MarkKind.HOLD:
                return replace(self, hold=Hold(mark.before))

    @property
    def counts_as(self) -> Service:
        return self.service if should_run(self.intent, self.hold) else Service.OFF


@dataclass(frozen=True)
class Span:
    """Half open: `start` belongs to it, `end` does not."""

    start: datetime
    end: datetime
    service: Service


@dataclass(frozen=True)
class Uptime:
    up: timedelta
    down: timedelta
    unknown: timedelta
    off: timedelta

    @property
    def share(self) -> float | None:
        """Of the time in which it was wanted and watched; None without any such time."""
        watched = self.up + self.down
        return self.up / watched if watched else None


def judge_service(phase: Phase, reason: Reason | None, answer_age: timedelta | None) -> Service:
    """Of a report. `answer_age` is how long ago a real call was last answered, by the node's own clock."""
    if answer_age is None or answer_age > ANSWER_COUNTS:
        return Service.DOWN
    serves = phase is Phase.READY or (phase is Phase.DEGRADED and reason in _SERVES_ALL_THE_SAME)
    return Service.UP if serves else Service.DOWN


def spans(marks: Sequence[Mark], present: Present, start: datetime, end: datetime) -> list[Span]:
    """From `start` to `end`, without a gap. `marks` in the order of time, all that lie within."""
    found: list[Span] = []
    upper = end
    for mark in reversed(marks):
        lower = min(max(mark.at, start), upper)
        if lower < upper:
            found.append(Span(lower, upper, present.counts_as))
        upper, present = lower, present.before(mark)
    if start < upper:
        found.append(Span(start, upper, present.counts_as))
    return found[::-1]


def measure(life: Sequence[Span], intervals: Sequence[tuple[datetime, datetime]]) -> Uptime:
    """Of the parts of `life` that lie within the intervals, which do not overlap each other."""
    sums = dict.fromkeys(Service, timedelta())
    for span in life:
        for start, end in intervals:
            shared = min(span.end, end) - max(span.start, start)
            if shared > timedelta():
                sums[span.service] += shared
    return Uptime(sums[Service.UP], sums[Service.DOWN], sums[Service.UNKNOWN], sums[Service.OFF])
