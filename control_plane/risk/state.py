"""Kill switches: whom they concern, and how far an account has come under one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

REPORT_FRESH = timedelta(seconds=45)
"""What a guard said longer ago says nothing about now; as long as a node's lease."""


REFRESH_AFTER = timedelta(seconds=20)
"""A guard that goes on saying the same is written down again after so long: well before the row counts as old, however
far apart the syncs of its node are.
"""


class KillMode(StrEnum):
    NO_NEW_ORDERS = "no_new_orders"
    CLOSE_ALL = "close_all"
    """Close everything, then stop the terminal."""


class KillScope(StrEnum):
    ACCOUNT = "account"
    USER = "user"
    TENANT = "tenant"
    FLEET = "fleet"


class TargetState(StrEnum):
    WAITING = "waiting"
    """Its node has not said yet that it knows of the switch."""
    CLOSING = "closing"
    DONE = "done"
    """Nothing more is opened and, where everything is to be closed, nothing is open: the terminal itself said so."""
    UNREACHABLE = "unreachable"
    """Nobody can say what is open: its node or terminal does not answer. The switch acts once it does."""
    NOT_RUNNING = "not_running"
    """The terminal is stopped, so that nobody can close anything; the switch acts should it start."""


TRANSITIONS: dict[TargetState, frozenset[TargetState]] = {
    state: frozenset(TargetState) - {state} if state is not TargetState.DONE else frozenset() for state in TargetState
}
"""A node may be lost and come back at any time; what was done once is proven for good."""


@dataclass(frozen=True)
class Switch:
    """A switch in force."""

    id: str
    scope: KillScope
    subject_id: str
    mode: KillMode


@dataclass(frozen=True)
class Subject:
    """An account, as switches find it."""

    account_id: str
    user_id: str
    tenant_id: str


@dataclass(frozen=True)
class InForce:
    """What all switches that concern an account come to."""

    mode: KillMode | None = None
    token: str = ""
    """Names this very combination; a guard repeats it once it acts by it."""


@dataclass(frozen=True)
class Facts:
    """What is known of one account's terminal."""

    runs: bool
    """It should run and has a place."""
    thrown_at: datetime
    reported_at: datetime | None = None
    """When its node last reported its guard, None if never under its present assignment."""
    seen_at: datetime | None = None
    knows_switch: bool = False
    flat: bool = False
    positions: int | None = None
    orders: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Verdict:
    state: TargetState
    note: str = ""


def concerns(switch: Switch, subject: Subject) -> bool:
    match switch.scope:
        case KillScope.ACCOUNT:
            return switch.subject_id == subject.account_id
        case KillScope.USER:
            return switch.subject_id == subject.user_id
        case KillScope.TENANT:
            return switch.subject_id == subject.tenant_id
    return True


def in_force(switches: Sequence[Switch], subject: Subject) -> InForce:
    """The strictest of all that concern an account."""
    mine = sorted(switch.id for switch in switches if concerns(switch, subject))
    if not mine:
        return InForce()
    strict = any(switch.mode is KillMode.CLOSE_ALL for switch in switches if switch.id in mine)
    mode = KillMode.CLOSE_ALL if strict else KillMode.NO_NEW_ORDERS
    return InForce(mode, sha256("|".join([mode, *mine]).encode()).hexdigest()[:24])


def says_else(before: Mapping[str, object], now: Mapping[str, object]) -> bool:
    """Whether a guard says something new, apart from when it has looked."""
    return {**before, "at": None} != {**now, "at": None}


def judge(facts: Facts, mode: KillMode, now: datetime) -> Verdict:
    """How far an account has come. Silence is never read as "nothing is open"."""
    if not facts.runs:
        return Verdict(
            TargetState.NOT_RUNNING,
            "The terminal is not running, so nobody can look at the account or close anything. Positions may be open "
            "at the broker.",
        )
    if facts.reported_at is None or now - facts.reported_at > REPORT_FRESH:
        if now - facts.thrown_at <= REPORT_FRESH:
            return Verdict(TargetState.WAITING, "The node has been told and has not answered yet.")
        return Verdict(
            TargetState.UNREACHABLE, "The node or the terminal does not answer. It closes as soon as it hears of it."
        )
    return _judge_report(facts, mode)


def _judge_report(facts: Facts, mode: KillMode) -> Verdict:
    if not facts.knows_switch:
        return Verdict(TargetState.WAITING, "The node has been told and has not acted yet.")
    if facts.positions is None or facts.orders is None:
        return Verdict(TargetState.UNREACHABLE, "The terminal is not connected to its broker.")
    if mode is KillMode.NO_NEW_ORDERS and facts.orders == 0:
        return Verdict(TargetState.DONE, "Nothing more is opened.")
    if mode is KillMode.CLOSE_ALL and facts.flat:
        return Verdict(TargetState.DONE, "The terminal says that nothing is open.")
    left = f"Still there: {facts.positions} positions, {facts.orders} waiting orders."
    return Verdict(TargetState.CLOSING, f"{left} {facts.problem}".strip())
