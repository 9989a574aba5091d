"""Events wait here until the control plane has stored them: in order, on disk, each exactly once by its id."""

from __future__ import annotations

from collections.abc import Iterable

from node_agent.database import Database
from node_agent.protocol.messages import Event

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
        with self._database.transaction() as sql:
            rows = sql.execute("SELECT body FROM spool ORDER BY sequence LIMIT ?", (limit,)).fetchall()
        return [Event.model_validate_json(body) for (body,) in rows]

    def remove(self, event_ids: Iterable[str]) -> None:
        """Only after the control plane has acknowledged them."""
        with self._database.transaction() as sql:
            sql.executemany("DELETE FROM spool WHERE event_id = ?", ((event_id,) for event_id in event_ids))

    def __len__(self) -> int:
        with self._database.transaction() as sql:
            return int(sql.execute("SELECT count(*) FROM spool").fetchone()[0])
