"""Carries drains on: a few terminals at a time leave a draining node, flat ones first."""

from __future__ import annotations

from control_plane.assignments import repository as assignments_repository
from control_plane.assignments.service import Assignments
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.fleet import repository
from control_plane.fleet.drain import Step
from control_plane.fleet.drains import drain_steps
from control_plane.fleet.state import Availability

_NOTE = "Moving to another node: its node is being emptied."


class Drains:
    def __init__(self, database: Database, assignments: Assignments, clock: Clock) -> None:
        self._database = database
        self._assignments = assignments
        self._clock = clock

    def run_once(self) -> None:
        with self._database.read_as_system() as session:
            draining = [node.id for node in repository.with_availability(session, Availability.DRAINING)]
        for node_id in draining:
            self._carry_on(node_id)

    def _carry_on(self, node_id: str) -> None:
        with self._database.write_as_system() as session:
            node = repository.lock_node(session, node_id)
            if node is None or node.availability != Availability.DRAINING:
                return
            steps = drain_steps(session, node, self._clock.now())
            for placement in assignments_repository.of_node(session, node_id):
                if steps.get(placement.terminal.id) is Step.NEXT:
                    self._assignments.revoke(session, placement, _NOTE)
