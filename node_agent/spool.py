"""Events wait here until the control plane has stored them: in order, on disk, each exactly once by its id."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import structlog
from pydantic import ValidationError

from node_agent.database import Database
from node_agent.errors import StorageError
from node_agent.protocol.messages import Event

_log = structlog.get_logger(__name__)
BATCH = 500
MOST_EVENTS = 200_000
"""About 150 MB on disk: two weeks of ten events a minute."""
_COUNTED = 5000


class SpoolFullError(StorageError):
    """So much waits for the control plane that nothing more is taken.

    Nothing is lost by that: deals stay in the broker's history, orders in the bridge's journal and bot logs in their
    files, and the cursors stay where they are.
    """


class Spool:
    """A queue in the agent's database. All methods raise StorageError."""

    def __init__(self, database: Database, most: int = MOST_EVENTS) -> None:
        self._database = database
        self._most = most

    def has_room_for_logs(self) -> bool:
        """Only while half of the room is left, so that a bot that talks much cannot keep out deals and orders."""
        return len(self) < self._most // 2

    def append(self, events: Iterable[Event]) -> None:
        """An event whose id still waits is not added again. Raises SpoolFullError when too many wait already."""
        if len(self) >= self._most:
            raise SpoolFullError(f"{self._most} events wait for the control plane; no more are collected meanwhile")
        with self._database.transaction() as sql:
            sql.executemany(
                "INSERT OR IGNORE INTO spool (event_id, body) VALUES (?, ?)",
                ((event.event_id, event.model_dump_json()) for event in events),
            )

    def oldest(self, limit: int = BATCH) -> list[Event]:
        """Events that wait. One that cannot be read, such as another version's, is set aside for a person."""
        with self._database.transaction() as sql:
            rows = sql.execute("SELECT event_id, body FROM spool ORDER BY sequence LIMIT ?", (limit,)).fetchall()
        events = []
        for event_id, body in rows:
            try:
                events.append(Event.model_validate_json(body))
            except ValidationError as error:
                _log.error("event_unreadable", event_id=event_id, problems=error.error_count())
                self._set_aside(event_id)
        return events

    def _set_aside(self, event_id: str) -> None:
        with self._database.transaction() as sql:
            sql.execute(
                "INSERT OR REPLACE INTO unreadable SELECT event_id, body FROM spool WHERE event_id = ?", (event_id,)
            )
            sql.execute("DELETE FROM spool WHERE event_id = ?", (event_id,))

    def remove(self, event_ids: Iterable[str]) -> None:
        """Only after the control plane has acknowledged them."""
        with self._database.transaction() as sql:
            sql.executemany("DELETE FROM spool WHERE event_id = ?", ((event_id,) for event_id in event_ids))

    def oldest_at(self) -> datetime | None:
        """When the event happened that waits longest; None when none does, or when it cannot be read."""
        with self._database.transaction() as sql:
            row = sql.execute("SELECT body FROM spool ORDER BY sequence LIMIT 1").fetchone()
        try:
            return None if row is None else Event.model_validate_json(row[0]).occurred_at
        except ValidationError:
            return None

    def __len__(self) -> int:
        """Exact while few wait. A long queue is not counted but measured from end to end, which may be a few more."""
        with self._database.transaction() as sql:
            # Two questions, for only then does SQLite look at the ends of the index alone.
            first = sql.execute("SELECT min(sequence) FROM spool").fetchone()[0]
            last = sql.execute("SELECT max(sequence) FROM spool").fetchone()[0]
            if first is None or last - first < _COUNTED:
                return int(sql.execute("SELECT count(*) FROM spool").fetchone()[0])
        return int(last - first + 1)
