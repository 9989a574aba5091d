"""Events wait here until the control plane has stored them: in order, on disk, each exactly once by its id."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from pydantic import ValidationError

from node_agent.database import Database
from node_agent.protocol.messages import Event

_log = structlog.get_logger(__name__)
BATCH = 500


class Spool:
    """A queue in the agent's database. All methods raise StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, events: Iterable[Event]) -> None:
        """An event whose id still waits is not added again."""
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

    def __len__(self) -> int:
        with self._database.transaction() as sql:
            return int(sql.execute("SELECT count(*) FROM spool").fetchone()[0])
