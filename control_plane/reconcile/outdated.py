"""Lets go on what was held back after a restore, once every node has reported."""

from __future__ import annotations

from control_plane.db.engine import Database
from control_plane.fleet import outdated
from control_plane.fleet.service import Fleet


class AfterRestore:
    def __init__(self, database: Database, fleet: Fleet) -> None:
        self._database = database
        self._fleet = fleet

    def run_once(self) -> None:
        with self._database.read_as_system() as session:
            if outdated.awaited(session) or not outdated.is_waiting(session):
                return
        with self._database.write_as_system() as session:
            for node_id in outdated.nodes_to_go_on(session):
                self._fleet.desired_changed(session, node_id)
