"""Terminals as the account's owner sees them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from control_plane.assignments.relocation import LeasePolicy
from control_plane.terminals.state import Hold, Intent
from node_agent.protocol.messages import Phase, Reason


class TerminalOut(BaseModel):
    id: str
    intent: Intent
    hold: Hold
    phase: Phase
    reason: Reason | None
    detail: str
    explanation: str
    """The state in a trader's words."""
    since: datetime
    last_answer_at: datetime | None
    placement: str
    """Why it runs where it runs, or why it waits."""
    placement_warning: str
    """What its owner should know of that place; mostly empty."""
    node_name: str | None
    epoch: int
    lease_policy: LeasePolicy
    """What becomes of it when its node loses touch with the farm."""
