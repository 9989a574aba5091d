"""Take in what agents observe of terminals, and show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from control_plane.assignments.model import Assignment
from control_plane.assignments.relocation import LeasePolicy
from control_plane.assignments.state import is_leaving
from control_plane.db.bulk import put_rows
from control_plane.fleet.model import Node
from control_plane.fleet.state import NodeState
from control_plane.ids import new_id
from control_plane.terminals import repository
from control_plane.terminals.explanation import TerminalFacts, explain, short_words, status
from control_plane.terminals.model import OneOffRequest, Terminal, TerminalObservation
from control_plane.terminals.repository import Known, TerminalColumns
from control_plane.terminals.schemas import TerminalOut
from control_plane.terminals.screen import screen_of
from control_plane.terminals.shown import NodeShown, ObservationShown, PlaceShown, TerminalShown
from control_plane.terminals.state import Actor, Hold, Intent, RequestKind, TransitionKind
from control_plane.terminals.transitions import Transition, record
from control_plane.terminals.uptime import Service, judge_service
from node_agent.protocol.messages import ObservedTerminal, Phase, Reason

_DETAIL_LIMIT = 500


@dataclass(frozen=True)
class Sighting:
    """A report that has come, and how to read it."""

    node_id: str
    at: datetime
    """By our clock."""
    node_clock: datetime
    """What the node's clock showed when it wrote the report."""
    believed_for: timedelta
    """What a node said counts for so long; after that nobody knows until it reports again."""


@dataclass(frozen=True, slots=True)
class Look:
    """A terminal in a report, of its current epoch."""

    terminal: TerminalColumns
    known: Known | None
    seen: ObservedTerminal
    sighting: Sighting


def observe(session: Session, looks: Sequence[Look]) -> set[str]:
    """Store observations. Returns the ids of terminals whose owner would see a difference."""
    rows = []
    changed = set()
    for look in looks:
        terminal, before, each, sighting = look.terminal, look.known, look.seen, look.sighting
        _note_phase(session, terminal, before, each, sighting)
        row = _row(terminal, each, _follow_service(session, terminal, before, each, sighting), sighting.at)
        rows.append(row)
        shown = (row["epoch"], row["phase"], row["reason"], row["detail"], row["screen"])
        if before is None or (before.epoch, before.phase, before.reason, before.detail, before.screen) != shown:
            changed.add(terminal.id)
    put_rows(session, TerminalObservation, rows)
    return changed


def _row(terminal: TerminalColumns, seen: ObservedTerminal, service: str, now: datetime) -> dict[str, Any]:
    return {
        "terminal_id": terminal.id,
        "tenant_id": terminal.tenant_id,
        "epoch": seen.epoch,
        "phase": seen.phase,
        "reason": seen.reason,
        "detail": seen.detail[:_DETAIL_LIMIT],
        "since": seen.since,
        "last_answer_at": seen.last_answer_at,
        "restarts": seen.restarts,
        "reported_at": now,
        "flat": seen.flat,
        "memory": seen.memory,
        "build": seen.build,
        "screen": seen.screen,
        "service": service,
    }


def place_given_up(session: Session, terminal: Terminal, epoch: int, now: datetime, believed_for: timedelta) -> None:
    """From now on the terminal is known not to run, and nobody reports it."""
    row = repository.observation(session, terminal.tenant_id, terminal.id)
    if row is not None and row.epoch == epoch:
        before = Known(row.epoch, row.phase, row.reason, row.detail, row.screen, row.service, row.reported_at)
        service = _note_gap(session, terminal, before, now, believed_for)
        row.service = _note_service(session, terminal, service, Service.DOWN, now, epoch)


def _note_phase(
    session: Session, terminal: TerminalColumns, known: Known | None, seen: ObservedTerminal, sighting: Sighting
) -> None:
    """A phase is judged anew by the node with every look, so any may follow any; a new epoch begins without one."""
    before = (Phase.ABSENT, None) if known is None or known.epoch != seen.epoch else (known.phase, known.reason)
    if (seen.phase, seen.reason) == before:
        return
    transition = Transition(
        TransitionKind.PHASE,
        before[0],
        seen.phase,
        Actor.NODE,
        reason=seen.reason or "",
        note=seen.detail,
        node_id=sighting.node_id,
    )
    record(session, terminal, transition, sighting.at, seen.epoch)


def _follow_service(
    session: Session, terminal: TerminalColumns, known: Known | None, seen: ObservedTerminal, sighting: Sighting
) -> str:
    """The service that the terminal gives from now on; what it was until now is written down."""
    service: str = Service.DOWN if known is None else known.service
    if known is not None and known.epoch == seen.epoch:
        service = _note_gap(session, terminal, known, sighting.at, sighting.believed_for)
    age = None if seen.last_answer_at is None else sighting.node_clock - seen.last_answer_at
    found = judge_service(seen.phase, seen.reason, age)
    return _note_service(session, terminal, service, found, sighting.at, seen.epoch)


def _note_gap(
    session: Session, terminal: Terminal | TerminalColumns, known: Known, now: datetime, believed_for: timedelta
) -> str:
    """Nobody has reported for a while, be it for the node or for the control plane: what was then is not known."""
    if known.service == Service.UNKNOWN or now - known.reported_at <= believed_for:
        return known.service
    return _note_service(session, terminal, known.service, Service.UNKNOWN, known.reported_at, known.epoch)


def _note_service(
    session: Session, terminal: Terminal | TerminalColumns, before: str, service: Service, at: datetime, epoch: int
) -> Service:
    if before != service:
        transition = Transition(TransitionKind.SERVICE, before, service, Actor.FARM)
        record(session, terminal, transition, at, epoch)
    return service


def request(session: Session, terminal: Terminal, kind: RequestKind, now: datetime, actor: Actor) -> str:
    """Ask the node for something once; what was asked for already and is not done yet is not asked for twice."""
    waiting = repository.open_requests(session, [terminal.id])
    known = next((each for each in waiting if each.kind == kind), None)
    if known is not None:
        return known.id
    row = OneOffRequest(
        id=new_id("req"), tenant_id=terminal.tenant_id, terminal_id=terminal.id, kind=kind, requested_at=now
    )
    session.add(row)
    record(session, terminal, Transition(TransitionKind.REQUEST, "", kind, actor), now)
    session.flush()
    return row.id


def finish_requests(session: Session, terminal: Terminal, finished: Sequence[str], now: datetime) -> bool:
    """The node has done these. Returns whether that is news."""
    if not finished:
        return False
    news = [each for each in repository.open_requests(session, [terminal.id]) if each.id in finished]
    for row in news:
        row.finished_at = now
    return bool(news)


def forget_refusal(session: Session, terminal: Terminal) -> None:
    """The password has changed, so that the broker's refusal of the former one says nothing any more.

    Until it is refused anew, the terminal counts as one that may be let in, and nobody else may join its login.
    """
    row = repository.observation(session, terminal.tenant_id, terminal.id)
    if row is not None and row.reason == Reason.BAD_CREDENTIALS:
        row.reason = None


def without_refusal(seen: ObservedTerminal) -> ObservedTerminal:
    """What a node says that does not know the newest password yet: its refusal may be of an older one."""
    return seen.model_copy(update={"reason": None}) if seen.reason is Reason.BAD_CREDENTIALS else seen


def present_terminal(
    terminal: Terminal | TerminalShown,
    observation: TerminalObservation | ObservationShown | None,
    assignment: Assignment | PlaceShown | None,
    node: Node | NodeShown | None,
    now: datetime,
) -> TerminalOut:
    """What the owner sees. An observation of an older epoch tells about a terminal that is no more."""
    intent, hold = Intent(terminal.intent), Hold(terminal.hold)
    current = observation if assignment and observation and observation.epoch == assignment.epoch else None
    phase = Phase(current.phase) if current else _phase_without_report(intent, assignment)
    reason = Reason(current.reason) if current and current.reason else None
    facts = TerminalFacts(
        intent=intent,
        hold=hold,
        assigned=assignment is not None,
        phase=phase,
        reason=reason,
        node_answers=node is None or node.state == NodeState.ONLINE,
        placement_note=terminal.placement_note,
        moving=assignment is not None and is_leaving(assignment.state),
        fences=assignment is not None and assignment.lease_policy == LeasePolicy.SELF_FENCE,
    )
    answered = observation.last_answer_at if observation else None
    return TerminalOut(
        id=terminal.id,
        intent=intent,
        hold=hold,
        phase=phase,
        reason=reason,
        detail=current.detail if current else terminal.placement_note,
        explanation=explain(facts),
        short=short_words(facts),
        status=status(facts, None if answered is None else now - answered),
        since=min(current.since if current else terminal.changed_at, now),
        last_answer_at=answered,
        placement=terminal.placement_note,
        placement_warning=((assignment.explanation if assignment else None) or {}).get("warning", ""),
        node_name=node.name if node else None,
        epoch=assignment.epoch if assignment else terminal.last_epoch,
        lease_policy=LeasePolicy(terminal.lease_policy),
        screen=screen_of(assignment, current),
    )


def _phase_without_report(intent: Intent, assignment: Assignment | PlaceShown | None) -> Phase:
    if assignment is None and intent is not Intent.RUNNING:
        return Phase.STOPPED
    return Phase.ABSENT
