"""What a terminal's owner is shown, as columns, where objects would cost more than all that is done with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class TerminalShown:
    id: str
    intent: str
    hold: str
    last_epoch: int
    placement_note: str
    changed_at: datetime
    lease_policy: str


@dataclass(frozen=True, slots=True)
class ObservationShown:
    epoch: int
    phase: str
    reason: str | None
    detail: str
    since: datetime
    last_answer_at: datetime | None
    screen: bool


@dataclass(frozen=True, slots=True)
class PlaceShown:
    epoch: int
    state: str
    lease_policy: str
    runtime: str
    explanation: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class NodeShown:
    name: str
    state: str
