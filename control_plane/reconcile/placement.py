"""Gives places to terminals that wait: at once after a change, and again and again while there is no room."""

from __future__ import annotations

import structlog
from sqlalchemy.exc import DBAPIError

from control_plane.db.engine import Database
from control_plane.db.races import is_lost_race
from control_plane.placement.service import AT_ONCE, Batch, Placing
from control_plane.terminals import repository
from control_plane.terminals.repository import Position

_TRIES = 5
_log = structlog.get_logger(__name__)


class Placement:
    def __init__(self, database: Database, placing: Placing, at_once: int = AT_ONCE) -> None:
        """`at_once` terminals are placed in one transaction."""
        self._database = database
        self._placing = placing
        self._at_once = at_once

    def run_once(self) -> None:
        """Until everybody who waits has been looked at. Who lost a node to somebody else is looked at again."""
        while self._sweep():
            pass

    def place_terminal(self, _terminal_id: str) -> None:
        """The job of a new or redeployed terminal. It places whoever waits, in order, so that nobody is overtaken."""
        self.run_once()

    def _sweep(self) -> bool:
        """Whether another one may help."""
        with self._database.read_as_system() as session:
            if not repository.anybody_waits(session):
                return False
        missed, batch = 0, self._place(None)
        while batch.last is not None:
            missed += batch.missed
            batch = self._place(batch.last)
        return missed > 0

    def _place(self, after: Position | None) -> Batch:
        for tries_left in reversed(range(_TRIES)):
            try:
                with self._database.write_as_system() as session:
                    return self._placing.place_batch(session, after, self._at_once)
            except DBAPIError as error:
                if tries_left == 0 or not is_lost_race(error):
                    raise
                _log.info("placement_tried_again", error=type(error.orig).__name__)
        raise AssertionError("the last try returns or raises")
