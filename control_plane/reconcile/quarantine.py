"""Puts nodes aside on which terminals keep failing for reasons that lie in the machine."""

from __future__ import annotations

from sqlalchemy.orm import Session

from control_plane.assignments import repository as assignments_repository
from control_plane.audit.service import THE_FARM
from control_plane.db.engine import Database
from control_plane.fleet import repository
from control_plane.fleet.model import Node
from control_plane.fleet.operations import By, Operations
from control_plane.fleet.state import NODE_FAULTS, Availability, NodeState, judge_faults, may_quarantine
from control_plane.terminals import repository as terminals_repository
from node_agent.protocol.messages import Reason

_WORDS = {
    Reason.TEMPLATE_BROKEN: "the installation of the terminals is damaged",
    Reason.DISK_FULL: "the disk is full",
}


class Quarantine:
    def __init__(self, database: Database, operations: Operations) -> None:
        self._database = database
        self._operations = operations

    def run_once(self) -> None:
        with self._database.read_as_system() as session:
            suspects = terminals_repository.nodes_with_reasons(session, NODE_FAULTS)
        for node_id in suspects:
            with self._database.write_as_system() as session:
                self._judge(session, node_id)

    def _judge(self, session: Session, node_id: str) -> None:
        node = repository.lock_node(session, node_id)
        fault = None if node is None else self._fault(session, node)
        if fault is None:
            return
        quarantined = len(repository.with_availability(session, Availability.QUARANTINED))
        if may_quarantine(quarantined, len(repository.nodes(session))):
            reason = f"Most of its terminals fail because {_WORDS[fault]}."
            self._operations.quarantine(session, node_id, By(THE_FARM, reason))

    def _fault(self, session: Session, node: Node) -> Reason | None:
        if node.availability != Availability.OPEN or node.state != NodeState.ONLINE:
            return None
        placements = assignments_repository.of_node(session, node.id)
        seen = terminals_repository.observations(session, [each.terminal.id for each in placements])
        reasons = []
        for placement in placements:
            row = seen.get(placement.terminal.id)
            current = row is not None and row.epoch == placement.assignment.epoch
            reasons.append(Reason(row.reason) if row is not None and current and row.reason else None)
        return judge_faults(reasons)
