"""Ends tests of connections that have come to a result, so that nothing of them stays."""

from __future__ import annotations

from control_plane.accounts.connection_tests import ConnectionTests
from control_plane.db.engine import Database


class FinishedTests:
    def __init__(self, database: Database, tests: ConnectionTests) -> None:
        self._database = database
        self._tests = tests

    def run_once(self) -> None:
        with self._database.read_as_system() as session:
            decided = self._tests.decided(session)
        for test_id in decided:
            with self._database.write_as_system() as session:
                self._tests.finish(session, test_id)
