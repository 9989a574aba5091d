"""Terminals as the account's owner sees them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from control_plane.assignments.relocation import LeasePolicy
from control_plane.terminals.state import Actor, Hold, Intent, TransitionKind
from node_agent.protocol.messages import Phase, Reason


class ScreenOut(BaseModel):
    available: bool
    """A ticket of scope `view` can be had."""
    note: str
    """Why not, in a trader's words."""


class TerminalOut(BaseModel):
    id: str
    intent: Intent
    hold: Hold
    phase: Phase
    reason: Reason | None
    detail: str
    explanation: str
    """The state in a trader's words."""
    short: str
    """The same in a few words: `Connected`."""
    status: str
    """These with their age at the time of this answer: `Connected; last answer 3 s ago`."""
    since: datetime
    last_answer_at: datetime | None
    """When it last answered a real call for the right account, by its node's clock."""
    placement: str
    """Why it runs where it runs, or why it waits."""
    placement_warning: str
    """What its owner should know of that place; mostly empty."""
    node_name: str | None
    epoch: int
    lease_policy: LeasePolicy
    """What becomes of it when its node loses touch with the farm."""
    screen: ScreenOut


class TransitionOut(BaseModel):
    """One change. `before` and `after` are values of what `kind` names; `before` is empty for a beginning."""

    id: str
    at: datetime
    kind: TransitionKind
    before: str
    after: str
    reason: str
    """A stable code; empty without one."""
    note: str
    actor: Actor
    node_name: str | None
    epoch: int
    words: str
    """The change in a trader's words."""


class UptimeShareOut(BaseModel):
    share: float | None
    """Between 0 and 1: of the time in which the terminal was wanted and watched, how much it answered. None without any
    such time."""
    up_seconds: int
    down_seconds: int
    unknown_seconds: int
    """Nobody reported: the node was silent, or the farm's control plane was away."""
    off_seconds: int
    """It was stopped or held, so nothing was expected of it."""


class UptimeWindowOut(BaseModel):
    window: str
    """`1h`, `1d` or `7d`, up to now."""
    overall: UptimeShareOut
    market_hours: UptimeShareOut
    """Within the week of the broker's server alone: Monday 00:00 to Friday 24:00 by its clock."""


class UptimeOut(BaseModel):
    windows: list[UptimeWindowOut]
    time_zone: str
    """Of the server's clock, by which the market hours are."""
    time_zone_known: bool
    """False when the directory does not say, and the usual zone of brokers is assumed."""
    since: datetime
    """From when on anything could be counted."""
