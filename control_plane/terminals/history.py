"""A terminal's timeline and uptime, as its owner sees them."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from control_plane.assignments.model import Assignment
from control_plane.assignments.relocation import Proof
from control_plane.assignments.state import AssignmentState
from control_plane.brokers.server_time import COMMON_ZONE, parse_zone, trading_weeks
from control_plane.terminals import repository
from control_plane.terminals.explanation import HOLD_WORDS, PHASE_WORDS, REASON_WORDS
from control_plane.terminals.model import Terminal, TerminalObservation, TerminalTransition
from control_plane.terminals.schemas import TransitionOut, UptimeOut, UptimeShareOut, UptimeWindowOut
from control_plane.terminals.state import Actor, Hold, Intent, RequestKind, TransitionKind
from control_plane.terminals.uptime import Mark, MarkKind, Present, Service, Uptime, measure, spans
from node_agent.protocol.messages import Phase, Reason

WINDOWS = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "7d": timedelta(days=7)}
_INTENTS = {
    Intent.RUNNING: "Start was asked for.",
    Intent.STOPPED: "Stop was asked for.",
    Intent.DELETED: "The account was removed.",
}
_PLACES = {
    AssignmentState.RESERVED: "It got a place.",
    AssignmentState.ACTIVE: "Its node has taken it over.",
    AssignmentState.SUSPECT: "Its node is lost; it may or may not run there.",
    AssignmentState.REVOKED: "It is taken away from its node.",
    AssignmentState.FENCED: "It is certain that it no longer runs on its former node.",
    AssignmentState.RELEASED: "It has left its node.",
}
_PROOFS = {
    Proof.SELF_FENCED: "The node has ended it by itself.",
    Proof.POWERED_OFF: "The machine is switched off.",
    Proof.OPERATOR: "The operator vouches for it.",
}
_SERVICES = {
    Service.UP: "It answers for your account.",
    Service.DOWN: "It does not answer for your account.",
    Service.UNKNOWN: "Nobody reported from here on: the node was silent, or the farm was away.",
}
_REQUESTS = {RequestKind.RESTART: "A restart was asked for.", RequestKind.COLLECT_LOGS: "Its logs were asked for."}


def present_transition(row: TerminalTransition, node_name: str | None) -> TransitionOut:
    return TransitionOut(
        id=row.id,
        at=row.at,
        kind=TransitionKind(row.kind),
        before=row.before,
        after=row.after,
        reason=row.reason,
        note=row.note,
        actor=Actor(row.actor),
        node_name=node_name,
        epoch=row.epoch,
        words=transition_words(TransitionKind(row.kind), row.before, row.after, row.reason),
    )


def transition_words(kind: TransitionKind, before: str, after: str, reason: str) -> str:
    """A sentence for each change that can be recorded."""
    match kind:
        case TransitionKind.INTENT:
            return _INTENTS[Intent(after)]
        case TransitionKind.HOLD:
            lifted = Hold(after) is Hold.NONE
            return f"The hold was lifted: {before}." if lifted else HOLD_WORDS[Hold(after)]
        case TransitionKind.PHASE:
            explained = reason and Phase(after) is not Phase.READY
            return REASON_WORDS[Reason(reason)] if explained else PHASE_WORDS[Phase(after)]
        case TransitionKind.PLACE:
            proof = _PROOFS.get(Proof(reason), "") if reason else ""
            return f"{_PLACES[AssignmentState(after)]} {proof}".rstrip()
        case TransitionKind.SERVICE:
            return _SERVICES[Service(after)]
        case TransitionKind.REQUEST:
            return _REQUESTS[RequestKind(after)]


def present_uptime(
    session: Session,
    terminal: Terminal,
    observation: TerminalObservation | None,
    assignment: Assignment | None,
    time_zone: str,
    now: datetime,
    believed_for: timedelta,
) -> UptimeOut:
    """Of the time since the account was connected, at most a week."""
    since = max(now - max(WINDOWS.values()), min(terminal.created_at, now))
    rows = repository.transitions_since(session, terminal.tenant_id, terminal.id, list(MarkKind), since)
    marks = [Mark(row.at, MarkKind(row.kind), row.before) for row in rows if row.before]
    reported_at = _last_report(observation, assignment)
    present = Present(_service(observation), Intent(terminal.intent), Hold(terminal.hold))
    if reported_at is not None and now - reported_at > believed_for:
        marks.append(Mark(reported_at, MarkKind.SERVICE, present.service))
        present = Present(Service.UNKNOWN, present.intent, present.hold)
        marks.sort(key=lambda mark: mark.at)
    life = spans(marks, present, since, now)
    weeks = trading_weeks(parse_zone(time_zone or COMMON_ZONE), since, now)
    windows = []
    for name, length in WINDOWS.items():
        start = max(now - length, since)
        open_hours = [(max(opens, start), closes) for opens, closes in weeks]
        overall, market = measure(life, [(start, now)]), measure(life, open_hours)
        windows.append(UptimeWindowOut(window=name, overall=_share(overall), market_hours=_share(market)))
    return UptimeOut(
        windows=windows, time_zone=time_zone or COMMON_ZONE, time_zone_known=bool(time_zone), since=terminal.created_at
    )


def _service(observation: TerminalObservation | None) -> Service:
    """A terminal that no node has ever reported has never run."""
    return Service.DOWN if observation is None else Service(observation.service)


def _last_report(observation: TerminalObservation | None, assignment: Assignment | None) -> datetime | None:
    """Until when what is known of a terminal was confirmed; None when it needs no confirmation, without a place."""
    if observation is None or assignment is None or observation.epoch != assignment.epoch:
        return None
    return observation.reported_at


def _share(uptime: Uptime) -> UptimeShareOut:
    return UptimeShareOut(
        share=uptime.share,
        up_seconds=round(uptime.up.total_seconds()),
        down_seconds=round(uptime.down.total_seconds()),
        unknown_seconds=round(uptime.unknown.total_seconds()),
        off_seconds=round(uptime.off.total_seconds()),
    )
