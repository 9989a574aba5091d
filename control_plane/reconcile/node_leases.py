"""Marks nodes that have fallen silent, and what they hold as suspect. Nothing is moved without proof of death."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from control_plane.assignments import repository as assignments_repository
from control_plane.assignments.service import enter
from control_plane.assignments.state import AssignmentState, may_become
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.config import Settings
from control_plane.db.engine import Database, after_commit
from control_plane.fleet import repository
from control_plane.fleet.listening import Listening
from control_plane.fleet.mass_loss import MassLoss
from control_plane.fleet.model import Node
from control_plane.fleet.repository import Silence
from control_plane.fleet.service import Fleet
from control_plane.fleet.state import NodeState, judge_silence, worsen

_log = structlog.get_logger(__name__)


class NodeLeases:
    def __init__(
        self,
        database: Database,
        fleet: Fleet,
        mass_loss: MassLoss,
        listening: Listening,
        bus: Bus,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._database = database
        self._fleet = fleet
        self._mass_loss = mass_loss
        self._listening = listening
        self._bus = bus
        self._clock = clock
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._lost_after = timedelta(seconds=settings.lost_after_seconds)
        self._last_round: datetime | None = None

    def run_once(self) -> None:
        now = self._listening.tick()
        self._forgive_own_absence()
        with self._database.read_as_system() as session:
            changed = [each.id for each in repository.silences(session) if self._judge(each, now) != each.state]
        for node_id in changed:
            with self._database.write_as_system() as session:
                node = repository.lock_node(session, node_id)
                if node is not None:
                    self._apply(session, node, self._judge(node, self._clock.now()))
        with self._database.write_as_system() as session:
            self._mass_loss.update(session)

    def _forgive_own_absence(self) -> None:
        """After this process was down (the first round) or its machine asleep (a gap between two rounds)."""
        now = self._clock.now()
        last_round, self._last_round = self._last_round, now
        if last_round is None or now - last_round > self._lease:
            with self._database.write_as_system() as session:
                since = last_round or repository.last_heard_at(session)
                if since is not None:
                    self._fleet.forgive_absence(session, since)

    def _judge(self, node: Node | Silence, now: datetime) -> NodeState:
        judged = judge_silence(node.last_seen_at, self._listening.since, now, self._lease, self._lost_after)
        return worsen(NodeState(node.state), judged)

    def _apply(self, session: Session, node: Node, state: NodeState) -> None:
        if node.state == state:
            return
        _log.warning("node_state_changed", node=node.id, before=node.state, after=state)
        node.state = state
        node.silent_since = node.silent_since or max(node.last_seen_at, self._listening.since)
        for placement in assignments_repository.of_node(session, node.id):
            assignment, account = placement.assignment, placement.account
            if state is NodeState.LOST and may_become(AssignmentState(assignment.state), AssignmentState.SUSPECT):
                enter(session, placement, AssignmentState.SUSPECT, self._clock.now())
            self._announce(session, Change(Topic.ACCOUNT, account.id, account.user_id, account.id))

    def _announce(self, session: Session, change: Change) -> None:
        after_commit(session, lambda: self._bus.publish(change))
