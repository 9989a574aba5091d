"""Take in what agents observe of terminals, and show it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from control_plane.assignments.model import Assignment
from control_plane.assignments.relocation import LeasePolicy
from control_plane.assignments.state import is_leaving
from control_plane.fleet.model import Node
from control_plane.fleet.state import NodeState
from control_plane.ids import new_id
from control_plane.terminals import repository
from control_plane.terminals.explanation import TerminalFacts, explain
from control_plane.terminals.model import OneOffRequest, Terminal, TerminalObservation
from control_plane.terminals.schemas import TerminalOut
from control_plane.terminals.state import Hold, Intent, RequestKind
from node_agent.protocol.messages import ObservedTerminal, Phase, Reason

_DETAIL_LIMIT = 500


def observe(session: Session, terminal: Terminal, seen: ObservedTerminal, now: datetime) -> bool:
    """Store an observation of the current epoch. Returns whether its owner would see a difference."""
    row = repository.observation(session, terminal.tenant_id, terminal.id)
    if row is None:
        row = TerminalObservation(terminal_id=terminal.id, tenant_id=terminal.tenant_id)
        session.add(row)
        changed = True
    else:
        changed = (row.epoch, row.phase, row.reason, row.detail) != (seen.epoch, seen.phase, seen.reason, seen.detail)
    row.epoch, row.phase, row.reason = seen.epoch, seen.phase, seen.reason
    row.detail, row.since = seen.detail[:_DETAIL_LIMIT], seen.since
    row.last_answer_at, row.restarts, row.reported_at = seen.last_answer_at, seen.restarts, now
    row.flat, row.memory, row.build = seen.flat, seen.memory, seen.build
    return changed


def request(session: Session, terminal: Terminal, kind: RequestKind, now: datetime) -> str:
    """Ask the node for something once; what was asked for already and is not done yet is not asked for twice."""
    waiting = repository.open_requests(session, [terminal.id])
    known = next((each for each in waiting if each.kind == kind), None)
    if known is not None:
        return known.id
    row = OneOffRequest(
        id=new_id("req"), tenant_id=terminal.tenant_id, terminal_id=terminal.id, kind=kind, requested_at=now
    )
    session.add(row)
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
    terminal: Terminal,
    observation: TerminalObservation | None,
    assignment: Assignment | None,
    node: Node | None,
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
    return TerminalOut(
        id=terminal.id,
        intent=intent,
        hold=hold,
        phase=phase,
        reason=reason,
        detail=current.detail if current else terminal.placement_note,
        explanation=explain(facts),
        since=min(current.since if current else terminal.changed_at, now),
        last_answer_at=observation.last_answer_at if observation else None,
        placement=terminal.placement_note,
        placement_warning=((assignment.explanation if assignment else None) or {}).get("warning", ""),
        node_name=node.name if node else None,
        epoch=assignment.epoch if assignment else terminal.last_epoch,
        lease_policy=LeasePolicy(terminal.lease_policy),
    )


def _phase_without_report(intent: Intent, assignment: Assignment | None) -> Phase:
    if assignment is None and intent is not Intent.RUNNING:
        return Phase.STOPPED
    return Phase.ABSENT
