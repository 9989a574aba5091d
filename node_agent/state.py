"""What the agent must remember across its own death: handles, the last snapshot, holds and collector cursors.

With these a restarted agent re-attaches to what runs and carries on without the control plane.
"""

from __future__ import annotations

import json

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from mt5_bridge.lease import Moment
from node_agent.database import Database
from node_agent.handles import handle_from_data, handle_to_data
from node_agent.process import Handle, Role, Slot
from node_agent.protocol.messages import DesiredSnapshot
from node_agent.restarts import NO_EXITS, Restarts

_log = structlog.get_logger(__name__)


class TerminalMemory(BaseModel):
    """What is known about one terminal beyond its processes."""

    model_config = ConfigDict(frozen=True)

    refused_version: int = 0
    """`credentials_version` that the broker refused last."""
    refusals: int = 0
    """How often it was refused; two hold the terminal until the version rises."""
    restarts: Restarts = NO_EXITS
    out_of_memory: bool = False
    """Its memory limit ended it the last time."""
    finished_requests: tuple[str, ...] = ()


class StateStore:
    """All methods raise StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save_handle(self, handle: Handle) -> None:
        with self._database.transaction() as sql:
            sql.execute(
                "INSERT OR REPLACE INTO handle (role, owner, bot_id, pid, birth, started_at, fingerprint, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    handle.slot.role.value,
                    handle.slot.owner,
                    handle.slot.bot_id,
                    handle.pid,
                    handle.birth,
                    handle.started_at,
                    handle.fingerprint,
                    json.dumps(handle_to_data(handle)),
                ),
            )

    def drop_handle(self, handle: Handle) -> None:
        """Forget this process, and not one that has taken its slot in the meantime."""
        slot = handle.slot
        with self._database.transaction() as sql:
            sql.execute(
                "DELETE FROM handle WHERE role = ? AND owner = ? AND bot_id = ? AND pid = ? AND birth = ?",
                (slot.role.value, slot.owner, slot.bot_id, handle.pid, handle.birth),
            )

    def handles(self) -> list[Handle]:
        with self._database.transaction() as sql:
            rows = sql.execute(
                "SELECT role, owner, bot_id, pid, birth, started_at, fingerprint, body FROM handle"
            ).fetchall()
        return [_handle(*row) for row in rows]

    def save_snapshot(self, snapshot: DesiredSnapshot) -> None:
        with self._database.transaction() as sql:
            sql.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?)", (snapshot.model_dump_json(),))

    def snapshot(self) -> DesiredSnapshot | None:
        """None before the first sync, and for one of another version: then nothing is known to be unwanted."""
        with self._database.transaction() as sql:
            row = sql.execute("SELECT body FROM snapshot").fetchone()
        try:
            return None if row is None else DesiredSnapshot.model_validate_json(row[0])
        except ValidationError:
            _log.warning("snapshot_unreadable", advice="the next sync brings a new one")
            return None

    def time_base(self, now: Moment) -> float:
        """What `Moment.elapsed` lacks to seconds since 1970, the same for all agents of one start of the machine."""
        with self._database.transaction() as sql:
            row = sql.execute("SELECT boot, seconds FROM time_base").fetchone()
            if row is not None and row[0] == now.boot and now.boot:
                return float(row[1])
            seconds = now.wall - now.elapsed
            sql.execute("INSERT OR REPLACE INTO time_base VALUES (1, ?, ?)", (now.boot, seconds))
            return seconds

    def save_memory(self, terminal_id: str, memory: TerminalMemory) -> None:
        with self._database.transaction() as sql:
            sql.execute("INSERT OR REPLACE INTO terminal VALUES (?, ?)", (terminal_id, memory.model_dump_json()))

    def memory(self, terminal_id: str) -> TerminalMemory:
        with self._database.transaction() as sql:
            row = sql.execute("SELECT memory FROM terminal WHERE terminal_id = ?", (terminal_id,)).fetchone()
        return TerminalMemory() if row is None else TerminalMemory.model_validate_json(row[0])

    def forget_terminal(self, terminal_id: str) -> None:
        """Drop everything about a destroyed terminal except events not yet delivered."""
        with self._database.transaction() as sql:
            sql.execute("DELETE FROM terminal WHERE terminal_id = ?", (terminal_id,))
            sql.execute("DELETE FROM cursor WHERE terminal_id = ?", (terminal_id,))
            sql.execute("DELETE FROM seen_deal WHERE terminal_id = ?", (terminal_id,))

    def cursor(self, terminal_id: str, source: str) -> str | None:
        """How far `source` was collected, in the source's own notation."""
        with self._database.transaction() as sql:
            row = sql.execute(
                "SELECT position FROM cursor WHERE terminal_id = ? AND source = ?", (terminal_id, source)
            ).fetchone()
        return None if row is None else str(row[0])

    def move_cursor(self, terminal_id: str, source: str, position: str) -> None:
        with self._database.transaction() as sql:
            sql.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?, ?)", (terminal_id, source, position))

    def drop_cursor(self, terminal_id: str, source: str) -> None:
        with self._database.transaction() as sql:
            sql.execute("DELETE FROM cursor WHERE terminal_id = ? AND source = ?", (terminal_id, source))

    def first_sight(self, terminal_id: str, ticket: int, time: int) -> bool:
        """Remember a deal; False when it was collected before."""
        with self._database.transaction() as sql:
            return (
                sql.execute("INSERT OR IGNORE INTO seen_deal VALUES (?, ?, ?)", (terminal_id, ticket, time)).rowcount
                == 1
            )

    def forget_deals_before(self, terminal_id: str, time: int) -> None:
        with self._database.transaction() as sql:
            sql.execute("DELETE FROM seen_deal WHERE terminal_id = ? AND time < ?", (terminal_id, time))


def _handle(
    role: str, owner: str, bot_id: str, pid: int, birth: str, started_at: float, fingerprint: str, body: str | None
) -> Handle:
    if body is None:  # written by an agent that knew plain processes only
        return Handle(Slot(Role(role), owner, bot_id), pid, birth, started_at, fingerprint)
    return handle_from_data(json.loads(body))
