"""Gives places to terminals that wait: at once after a change, and again and again while there is no room."""

from __future__ import annotations

from control_plane.assignments.service import Assignments
from control_plane.db.engine import Database
from control_plane.terminals import repository


class Placement:
    def __init__(self, database: Database, assignments: Assignments) -> None:
        self._database = database
        self._assignments = assignments

    def run_once(self) -> None:
        with self._database.read_as_system() as session:
            if not repository.waiting(session):
                return
        with self._database.write_as_system() as session:
            self._assignments.place_waiting(session)

    def place_terminal(self, _terminal_id: str) -> None:
        """The job of a new or redeployed terminal. It places whoever waits, in order, so that nobody is overtaken."""
        self.run_once()
