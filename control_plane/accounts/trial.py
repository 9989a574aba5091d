"""What a test of a connection has come to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from node_agent.protocol.messages import Phase, Reason

LONGEST_TEST = timedelta(minutes=3)


class Outcome(StrEnum):
    PENDING = "pending"
    CONNECTED = "connected"
    REFUSED = "refused"
    """The broker refused login or password."""
    UNREACHABLE = "unreachable"
    """The broker's server did not answer."""
    NO_PLACE = "no_place"
    """No node could try it."""
    INCONCLUSIVE = "inconclusive"
    """The time was up before there was an answer."""


@dataclass(frozen=True)
class TrialFacts:
    """What is seen of the terminal that tries."""

    server: str
    placed: bool
    note: str
    """Why it waits, or why it is where it is."""
    phase: Phase | None
    """None before the node has reported it."""
    reason: Reason | None
    answered: bool
    """A real call was answered for the right account."""


@dataclass(frozen=True)
class Judgement:
    outcome: Outcome
    words: str


def judge_trial(facts: TrialFacts, now: datetime, deadline: datetime) -> Judgement:
    if facts.phase is not None and (decided := _decided(facts)):
        return decided
    if now < deadline:
        return Judgement(Outcome.PENDING, _progress(facts))
    return _too_late(facts)


def _decided(facts: TrialFacts) -> Judgement | None:
    if facts.reason is Reason.BAD_CREDENTIALS:
        # Also while the terminal would try once more: one refusal is an answer, and each counts with the broker.
        return Judgement(Outcome.REFUSED, f"{facts.server} refused this login and password.")
    if facts.phase is Phase.READY:
        return Judgement(Outcome.CONNECTED, f"{facts.server} accepted this login and password; trading is allowed.")
    if facts.phase is not Phase.DEGRADED or not facts.answered:
        return None
    if facts.reason is None:
        return Judgement(Outcome.CONNECTED, f"{facts.server} accepted this login and password; the market is closed.")
    if facts.reason is Reason.ALGO_TRADING_OFF:
        words = "accepted this login and password, but programs may not trade in this account."
        return Judgement(Outcome.CONNECTED, f"{facts.server} {words}")
    return None


def _progress(facts: TrialFacts) -> str:
    if not facts.placed:
        return facts.note or "Waiting for a node that can try it."
    return "A terminal is logging in." if facts.phase is Phase.LOGGING_IN else "A terminal is being started."


def _too_late(facts: TrialFacts) -> Judgement:
    if not facts.placed:
        return Judgement(Outcome.NO_PLACE, f"It could not be tried. {facts.note or 'No node was free.'}")
    if facts.reason is Reason.BROKER_UNREACHABLE:
        return Judgement(Outcome.UNREACHABLE, f"{facts.server} did not answer. The password was not judged.")
    return Judgement(Outcome.INCONCLUSIVE, "The terminal came to no result in time. Please try again.")
