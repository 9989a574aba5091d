"""States of a terminal: what should be, what may change into what, and how an observation is judged."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from control_plane.errors import ConflictError
from node_agent.protocol.messages import Phase


class Intent(StrEnum):
    """What the user wants."""

    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"


class RequestKind(StrEnum):
    """What can be asked of a terminal's node once."""

    RESTART = "restart"
    COLLECT_LOGS = "collect_logs"


class Hold(StrEnum):
    """What keeps a terminal from running although the user wants it."""

    NONE = "none"
    UNPAID = "unpaid"
    RISK = "risk"
    ADMIN = "admin"


class Verb(StrEnum):
    """What the owner of an account can ask for."""

    DEPLOY = "deploy"
    UNDEPLOY = "undeploy"
    RESTART = "restart"
    MOVE = "move"
    DELETE = "delete"


class TransitionKind(StrEnum):
    """What a recorded transition changes."""

    INTENT = "intent"
    HOLD = "hold"
    PHASE = "phase"
    PLACE = "place"
    """The state of its assignment."""
    SERVICE = "service"
    """Whether it answers for its account, as `uptime.Service`."""
    REQUEST = "request"
    """Something was asked of the node once."""


class Actor(StrEnum):
    """Who made a transition, as far as the owner of the account is told; the audit trail has the name."""

    USER = "user"
    OPERATOR = "operator"
    FARM = "farm"
    NODE = "node"


_ALLOWED: dict[Intent, frozenset[Intent]] = {
    Intent.RUNNING: frozenset({Intent.STOPPED, Intent.DELETED}),
    Intent.STOPPED: frozenset({Intent.RUNNING, Intent.DELETED}),
    Intent.DELETED: frozenset(),
}

_ALLOWED_HOLDS: dict[Hold, frozenset[Hold]] = {
    Hold.NONE: frozenset({Hold.UNPAID, Hold.RISK, Hold.ADMIN}),
    Hold.UNPAID: frozenset({Hold.NONE, Hold.RISK, Hold.ADMIN}),
    Hold.RISK: frozenset({Hold.NONE, Hold.ADMIN}),
    Hold.ADMIN: frozenset({Hold.NONE}),
}
"""The stronger hold replaces the weaker one, never the other way round. Who lifts one lets those who set a weaker one
find out again whether they still want it."""

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


def change_hold(present: Hold, wanted: Hold) -> Hold:
    """The new hold; asking for the present one again changes nothing. Raises ConflictError."""
    if wanted is not present and wanted not in _ALLOWED_HOLDS[present]:
        raise ConflictError(f"It is held already: {present}.", code="held")
    return wanted


@dataclass(frozen=True)
class Standing:
    """What decides over verbs."""

    intent: Intent
    hold: Hold
    placed: bool
    leaving: bool
    """Its node has been told to stop it, so that it starts elsewhere."""


def check_verb(verb: Verb, standing: Standing) -> None:
    """Raises ConflictError with what to do instead.

    Deploy, undeploy and delete are wishes and may be said at any time before the deletion. Restart and move are about
    a terminal that has a place.
    """
    if standing.intent is Intent.DELETED and verb is not Verb.DELETE:
        raise ConflictError("This account has been removed.", code="account_deleted")
    if verb not in {Verb.RESTART, Verb.MOVE}:
        return
    if standing.intent is not Intent.RUNNING:
        raise ConflictError("The terminal is stopped; start it instead.", code="not_running")
    if standing.hold is not Hold.NONE:
        raise ConflictError("The terminal is held back, so it is not running.", code="held")
    if not standing.placed:
        raise ConflictError("The terminal has no place on a node yet; it starts as soon as it has.", code="not_placed")
    if standing.leaving and verb is Verb.RESTART:
        raise ConflictError("The terminal is moving to another node and starts there anew.", code="moving")
