"""The fleet as operators see it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from control_plane.assignments import repository as assignments_repository
from control_plane.assignments.relocation import LeasePolicy, Unproven, judge_relocation
from control_plane.assignments.repository import Placement
from control_plane.assignments.state import AssignmentState
from control_plane.audit import repository as audit_repository
from control_plane.fleet import repository
from control_plane.fleet.drain import Step
from control_plane.fleet.drains import drain_steps
from control_plane.fleet.mass_loss import BREAKER, MassLoss
from control_plane.fleet.model import Node
from control_plane.fleet.schemas import BreakerOut, DeedOut, DrainOut, NodeDetailOut, NodeOut, NodeTerminalOut
from control_plane.fleet.service import node_facts
from control_plane.fleet.state import Availability, BreakerState, IdentityState, NodeState
from control_plane.identity.state import OPS_ROLES
from control_plane.placement.candidates import free_memory
from control_plane.placement.repository import NOTHING, Load, loads
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals.model import TerminalObservation
from control_plane.terminals.screen import screen_of
from control_plane.terminals.state import Hold, Intent
from node_agent.protocol.messages import Phase, Reason

_DEEDS_SHOWN = 20


def present_node(session: Session, node: Node, load: Load, now: datetime) -> NodeOut:
    steps = drain_steps(session, node, now) if node.availability == Availability.DRAINING else {}
    return NodeOut(**_facts(node, load), drain=_present_drain(node, steps))


def present_node_detail(session: Session, node: Node, mass_loss: MassLoss, now: datetime) -> NodeDetailOut:
    placements = assignments_repository.of_node(session, node.id)
    seen = terminals_repository.observations(session, [each.terminal.id for each in placements])
    steps = drain_steps(session, node, now) if node.availability == Availability.DRAINING else {}
    frozen = node.state == NodeState.LOST and mass_loss.is_frozen(session)
    return NodeDetailOut(
        **_facts(node, loads(session, [node.id]).get(node.id, NOTHING)),
        drain=_present_drain(node, steps),
        terminals=[
            _present_terminal(
                each,
                seen.get(each.terminal.id),
                steps.get(each.terminal.id),
                _stays_because(each, node, now, frozen=frozen),
            )
            for each in placements
        ],
        deeds=[
            DeedOut(at=row.at, actor=row.actor, action=row.action, reason=row.reason)
            for row in audit_repository.of_subject(session, node.id, _DEEDS_SHOWN)
        ],
    )


def present_breaker(session: Session, mass_loss: MassLoss) -> BreakerOut:
    row = repository.breaker(session, BREAKER)
    losses = mass_loss.losses(session)
    return BreakerOut(
        state=BreakerState.OPEN if mass_loss.is_frozen(session) else BreakerState.CLOSED,
        changed_at=None if row is None else row.changed_at,
        note="" if row is None else row.note,
        silent=len(losses.falls),
        nodes=losses.nodes,
        tolerated=losses.tolerated,
        lifted_at=None if row is None else row.lifted_at,
        lifted_by="" if row is None else row.lifted_by,
        may_be_lifted_by=sorted(OPS_ROLES),
    )


def _facts(node: Node, load: Load) -> dict[str, Any]:
    report = node.report
    return {
        "id": node.id,
        "name": node.name,
        "state": NodeState(node.state),
        "availability": Availability(node.availability),
        "availability_note": node.availability_note,
        "identity_state": IdentityState(node.identity_state),
        "identity_note": node.identity_note,
        "slots": node.slots,
        "used": load.slots,
        "strays": node.strays,
        "awaited": node.awaited and node.declared_dead_at is None,
        "runtimes": node.runtimes,
        "platform": node.platform,
        "agent_version": report.get("agent_version", ""),
        "gateway_up": report.get("gateway_up", False),
        "watchdog_up": report.get("watchdog_up", False),
        "pressure": report.get("pressure", []),
        "problems": report.get("problems", []),
        "memory_total": report.get("memory_total"),
        "memory_available": report.get("memory_available"),
        "memory_reserved": load.memory,
        "memory_free": free_memory(report, load),
        "disk_free": report.get("disk_free"),
        "clock_offset_ms": report.get("clock_offset_ms"),
        "enrolled_at": node.enrolled_at,
        "last_seen_at": node.last_seen_at,
        "silent_since": node.silent_since,
        "lease_granted_at": node.lease_granted_at,
        "fence_due_at": node.fence_due_at,
        "declared_dead_at": node.declared_dead_at,
        "pool": node.pool,
        "region": node.region,
        "labels": node.labels,
        "dedicated_tenant_id": node.dedicated_tenant_id,
        "outgoing_address": node.outgoing_address,
        "seen_from": node.seen_from,
    }


def _present_drain(node: Node, steps: dict[str, Step]) -> DrainOut | None:
    if node.drain_started_at is None or node.drain_deadline is None:
        return None
    return DrainOut(
        started_at=node.drain_started_at,
        deadline=node.drain_deadline,
        total=node.drain_total,
        left=len(steps),
        steps=dict(sorted(Counter(steps.values()).items())),
    )


def _present_terminal(
    placement: Placement, seen: TerminalObservation | None, step: Step | None, stays: Unproven | None
) -> NodeTerminalOut:
    assignment, terminal, account = placement.assignment, placement.terminal, placement.account
    current = seen if seen is not None and seen.epoch == assignment.epoch else None
    return NodeTerminalOut(
        terminal_id=terminal.id,
        account_id=account.id,
        login=account.login,
        server=account.server,
        epoch=assignment.epoch,
        assignment=AssignmentState(assignment.state),
        intent=Intent(terminal.intent),
        hold=Hold(terminal.hold),
        phase=Phase(current.phase) if current else Phase.ABSENT,
        reason=Reason(current.reason) if current and current.reason else None,
        flat=current.flat if current else None,
        screen=screen_of(assignment, current),
        lease_policy=LeasePolicy(terminal.lease_policy),
        node_follows=LeasePolicy(assignment.lease_policy),
        why_here=terminal.placement_note,
        warning=(assignment.explanation or {}).get("warning", ""),
        memory_reserved=assignment.memory,
        drain_step=step,
        stays_because=stays,
    )


def _stays_because(placement: Placement, node: Node, now: datetime, *, frozen: bool) -> Unproven | None:
    if node.state == NodeState.ONLINE:
        return None
    verdict = judge_relocation(
        AssignmentState(placement.assignment.state),
        LeasePolicy(placement.assignment.lease_policy),
        node_facts(node, lost=node.state == NodeState.LOST),
        frozen=frozen,
        now=now,
    )
    return verdict if isinstance(verdict, Unproven) else None
