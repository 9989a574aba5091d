"""States of a terminal: what should be, what may change into what, and how an observation is judged."""

from __future__ import annotations

from enum import StrEnum

from control_plane.errors import ConflictError
from node_agent.protocol.messages import Phase


class Intent(StrEnum):
    """What the user wants."""

    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"


class Hold(StrEnum):
    """What keeps a terminal from running although the user wants it."""

    NONE = "none"
    UNPAID = "unpaid"
    RISK = "risk"
    ADMIN = "admin"


_ALLOWED: dict[Intent, frozenset[Intent]] = {
    Intent.RUNNING: frozenset({Intent.STOPPED, Intent.DELETED}),
    Intent.STOPPED: frozenset({Intent.RUNNING, Intent.DELETED}),
    Intent.DELETED: frozenset(),
}

ANSWERING_PHASES = frozenset({Phase.READY, Phase.DEGRADED})
"""Phases in which the terminal answers calls of the right account."""

GONE_PHASES = frozenset({Phase.ABSENT, Phase.STOPPED})
"""Phases that prove that no terminal process runs."""

IDLE_PHASES = GONE_PHASES | {Phase.FAILED, Phase.CRASH_LOOP}
"""Phases in which no terminal process runs, nor is about to without a person."""


def change_intent(present: Intent, wanted: Intent) -> Intent:
    """The new intent; asking for the present one again changes nothing. Raises ConflictError."""
    if wanted is present:
        return present
    if wanted not in _ALLOWED[present]:
        raise ConflictError("This account has been removed.", code="account_deleted")
    return wanted


def should_run(intent: Intent, hold: Hold) -> bool:
    return intent is Intent.RUNNING and hold is Hold.NONE
