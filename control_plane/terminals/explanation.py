"""The state of a terminal in a trader's words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from control_plane.terminals.state import Hold, Intent
from node_agent.protocol.messages import Phase, Reason

HOLD_WORDS = {
    Hold.UNPAID: "Held back until the subscription is paid.",
    Hold.RISK: "Held back because a risk limit was reached.",
    Hold.ADMIN: "Held back by the operator.",
}

PHASE_WORDS = {
    Phase.ABSENT: "The node is about to set up the terminal.",
    Phase.PREPARING: "The terminal's folder is being prepared.",
    Phase.LAUNCHING: "The terminal is starting.",
    Phase.LOGGING_IN: "The terminal is logging in to the broker.",
    Phase.READY: "Connected and ready to trade.",
    Phase.DEGRADED: "Connected, but something needs attention.",
    Phase.STOPPING: "The terminal is stopping.",
    Phase.STOPPED: "The terminal is stopped.",
    Phase.BACKING_OFF: "The terminal stopped by itself and is about to be started again.",
    Phase.CRASH_LOOP: "The terminal keeps stopping by itself. Our team has to look at it.",
    Phase.FAILED: "The terminal cannot run.",
}

REASON_WORDS = {
    Reason.BAD_CREDENTIALS: "The broker refused the login or password. Correct the password to try again.",
    Reason.BROKER_UNREACHABLE: "The broker's server does not answer. We keep trying.",
    Reason.IPC_TIMEOUT: "The terminal does not answer at the moment. We keep trying.",
    Reason.ALGO_TRADING_OFF: "Algorithmic trading is switched off in the terminal or for this account.",
    Reason.WRONG_ACCOUNT: "The terminal is logged in to another account, so trading is refused.",
    Reason.PROCESS_EXIT: "The terminal stopped by itself and is being started again.",
    Reason.OUT_OF_MEMORY: "The node ran out of memory.",
    Reason.DISK_FULL: "The node's disk is full.",
    Reason.LIVE_UPDATE: "The terminal is updating itself.",
    Reason.TEMPLATE_BROKEN: "The terminal's installation on the node is damaged.",
    Reason.LEASE_EXPIRED: "The node lost touch with the farm, so the terminal was ended for safety.",
}


@dataclass(frozen=True)
class TerminalFacts:
    """All that the explanation depends on."""

    intent: Intent
    hold: Hold
    assigned: bool
    phase: Phase
    reason: Reason | None
    node_answers: bool
    placement_note: str
    moving: bool = False
    """It is being taken away from its node; the note says why."""
    fences: bool = False
    """Its node ends it when it loses touch."""


def explain(facts: TerminalFacts) -> str:
    if facts.intent is not Intent.RUNNING:
        return _explain_stop(facts)
    if facts.hold is not Hold.NONE:
        return HOLD_WORDS[facts.hold]
    if not facts.assigned:
        return facts.placement_note or "Waiting for a place on a node."
    if not facts.node_answers:
        return _explain_silence(facts)
    return facts.placement_note if facts.moving else _explain_phase(facts)


def _explain_phase(facts: TerminalFacts) -> str:
    if facts.reason is not None and facts.phase is not Phase.READY:
        return REASON_WORDS[facts.reason]
    return PHASE_WORDS[facts.phase]


def _explain_silence(facts: TerminalFacts) -> str:
    if facts.fences:
        return "The node is silent; the terminal stops there and starts on another node once that is certain."
    return "The node is silent at the moment; the terminal probably keeps running. Shown is its last state."


def _explain_stop(facts: TerminalFacts) -> str:
    if facts.assigned:
        return "The terminal is stopping."
    return "The terminal is stopped." if facts.intent is Intent.STOPPED else "The account is removed."


_SHORT = {
    Phase.READY: "Connected",
    Phase.DEGRADED: "Connected, with limits",
    Phase.LAUNCHING: "Starting",
    Phase.PREPARING: "Starting",
    Phase.LOGGING_IN: "Logging in",
    Phase.ABSENT: "Waiting for its node",
    Phase.STOPPING: "Stopping",
    Phase.STOPPED: "Stopped",
    Phase.BACKING_OFF: "Not running; starts again shortly",
    Phase.CRASH_LOOP: "Not running; keeps failing",
    Phase.FAILED: "Not running",
}
_CUT_OFF = frozenset({Reason.BROKER_UNREACHABLE, Reason.IPC_TIMEOUT, Reason.WRONG_ACCOUNT})


def status(facts: TerminalFacts, answer_age: timedelta | None) -> str:
    """The state in a few words, with the age of the last answer where there was one."""
    words = short_words(facts)
    return words if answer_age is None else f"{words}; last answer {age_words(answer_age)} ago"


def short_words(facts: TerminalFacts) -> str:
    if facts.intent is not Intent.RUNNING:
        return _explain_stop(facts).removeprefix("The terminal is ").removesuffix(".").capitalize()
    if facts.hold is not Hold.NONE:
        return "Held back"
    if not facts.assigned:
        return "Waiting for a place"
    return _short_on_node(facts)


def _short_on_node(facts: TerminalFacts) -> str:
    if not facts.node_answers:
        return "Its node is silent"
    if facts.moving:
        return "Moving to another node"
    cut_off = facts.phase is Phase.DEGRADED and facts.reason in _CUT_OFF
    return "Not connected" if cut_off else _SHORT[facts.phase]


def age_words(age: timedelta) -> str:
    """In the largest unit that fits: `4 s`, `12 min`, `3 h`, `2 d`."""
    seconds = max(0, int(age.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
