"""Gives up the places of terminals that are proven to be dead on a lost node, so that they start elsewhere."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from control_plane.assignments import repository as assignments_repository
from control_plane.assignments.relocation import LeasePolicy, Proof, judge_relocation
from control_plane.assignments.repository import Placement
from control_plane.assignments.service import Assignments
from control_plane.assignments.state import AssignmentState
from control_plane.audit.service import THE_FARM, Audit, Deed
from control_plane.config import Settings
from control_plane.db.engine import Database
from control_plane.fleet import repository
from control_plane.fleet.listening import Listening
from control_plane.fleet.mass_loss import MassLoss
from control_plane.fleet.model import Node
from control_plane.fleet.power import PowerFence
from control_plane.fleet.service import node_facts
from control_plane.fleet.state import NodeState, judge_silence

_log = structlog.get_logger(__name__)


class Relocation:
    def __init__(
        self,
        database: Database,
        assignments: Assignments,
        mass_loss: MassLoss,
        audit: Audit,
        listening: Listening,
        settings: Settings,
        power: PowerFence | None = None,
    ) -> None:
        self._database = database
        self._assignments = assignments
        self._mass_loss = mass_loss
        self._audit = audit
        self._listening = listening
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._lost_after = timedelta(seconds=settings.lost_after_seconds)
        self._power = power

    def run_once(self) -> None:
        now = self._listening.tick()
        with self._database.read_as_system() as session:
            lost = repository.lost_nodes(session)
        off = {node.id for node in lost if self._power is not None and self._power.is_off(node.id)}
        with self._database.read_as_system() as session:
            # Most lost nodes hold nothing that can be proven dead, round after round; those cost no lock.
            promising = [node.id for node in lost if self._proofs(session, node, now, off, frozen=False)]
        for node_id in promising:
            with self._database.write_as_system() as session:
                node = repository.lock_node(session, node_id)
                if node is not None:
                    self._relocate(session, node, now, off)

    def _relocate(self, session: Session, node: Node, now: datetime, off: Collection[str]) -> None:
        """All judged anew in this transaction: the node may have come back since."""
        frozen = self._mass_loss.is_frozen(session)
        for placement, proof in self._proofs(session, node, now, off, frozen=frozen):
            self._assignments.fence(session, placement, proof)
            terminal, epoch = placement.terminal, placement.assignment.epoch
            _log.warning("terminal_fenced", terminal=terminal.id, node=node.id, proof=proof)
            deed = Deed(THE_FARM, "fence", node.id, f"{terminal.id}, epoch {epoch}: {proof}")
            self._audit.record(session, terminal.tenant_id, deed)

    def _proofs(
        self, session: Session, node: Node, now: datetime, off: Collection[str], *, frozen: bool
    ) -> list[tuple[Placement, Proof]]:
        facts = node_facts(node, lost=self._is_lost(node, now), powered_off=node.id in off)
        proofs = []
        for placement in assignments_repository.of_node(session, node.id):
            state, policy = AssignmentState(placement.assignment.state), LeasePolicy(placement.assignment.lease_policy)
            verdict = judge_relocation(state, policy, facts, frozen=frozen, now=now)
            if isinstance(verdict, Proof):
                proofs.append((placement, verdict))
        return proofs

    def _is_lost(self, node: Node, now: datetime) -> bool:
        """Lost when it was judged, and still so by what this process itself has listened to."""
        judged = judge_silence(node.last_seen_at, self._listening.since, now, self._lease, self._lost_after)
        return node.state == NodeState.LOST and judged is NodeState.LOST
