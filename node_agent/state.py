"""What the agent must remember across its own death: handles, the last snapshot, holds and collector cursors.

With these a restarted agent re-attaches to what runs and carries on without the control plane.
"""

from __future__ import annotations

import json
from enum import Enum

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from mt5_bridge.lease import Moment
from node_agent.database import Database
from node_agent.errors import StorageError
from node_agent.handles import handle_from_data, handle_to_data
from node_agent.process import Handle, Role, Slot
from node_agent.protocol.messages import DesiredSnapshot
from node_agent.quarantine import NO_STRIKES, Strikes
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
    strikes: Strikes = NO_STRIKES


class Sight(Enum):
    """How a deal of the history stands to what was collected before."""

    NEW = "new"
    KNOWN = "known"
    EDITED = "edited"


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

    def save_snapshot(self, snapshot: DesiredSnapshot, boot: str) -> None:
        """`boot` names the present start of the machine."""
        with self._database.transaction() as sql:
            sql.execute(
                "INSERT OR REPLACE INTO snapshot (one, body, boot) VALUES (1, ?, ?)", (snapshot.model_dump_json(), boot)
            )

    def snapshot(self, boot: str) -> DesiredSnapshot | None:
        """None before the first sync of this start of the machine, and for one of another version: then nothing is
        known to be wanted or unwanted.
        """
        with self._database.transaction() as sql:
            row = sql.execute("SELECT body, boot FROM snapshot").fetchone()
        if row is None or _other_start(row[1], boot):
            return None
        try:
            return DesiredSnapshot.model_validate_json(row[0])
        except ValidationError:
            _log.warning("snapshot_unreadable", advice="the next sync brings a new one")
            return None

    def used_in_other_start(self, boot: str) -> bool:
        """Whether the control plane was last heard here in another start of the machine, or on another machine."""
        with self._database.transaction() as sql:
            row = sql.execute("SELECT boot FROM snapshot").fetchone()
        return row is not None and _other_start(row[0], boot)

    def time_base(self, now: Moment) -> float:
        """What `Moment.elapsed` lacks to seconds since 1970, the same for all agents of one start of the machine."""
        with self._database.transaction() as sql:
            row = sql.execute("SELECT boot, seconds FROM time_base").fetchone()
            if row is not None and row[0] == now.boot and now.boot:
                return float(row[1])
        seconds = now.wall - now.elapsed
        try:
            with self._database.transaction() as sql:
                sql.execute("INSERT OR REPLACE INTO time_base VALUES (1, ?, ?)", (now.boot, seconds))
        except StorageError as error:
            # A full disk must not keep the agent from starting; the next one may count a little differently.
            _log.error("time_base_not_saved", error=str(error))
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
            sql.execute("DELETE FROM seen_order WHERE terminal_id = ?", (terminal_id,))

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

    def see_deal(self, terminal_id: str, ticket: int, time: int, digest: str) -> Sight:
        """Remember a deal and what it looks like."""
        with self._database.transaction() as sql:
            row = sql.execute(
                "SELECT digest FROM seen_deal WHERE terminal_id = ? AND ticket = ?", (terminal_id, ticket)
            ).fetchone()
            if row is not None and row[0] == digest:
                return Sight.KNOWN
            sql.execute("INSERT OR REPLACE INTO seen_deal VALUES (?, ?, ?, ?)", (terminal_id, ticket, time, digest))
        if row is None:
            return Sight.NEW
        # Those of an older agent have no digest.
        return Sight.KNOWN if row[0] is None else Sight.EDITED

    def deals_since(self, terminal_id: str, time: int) -> int:
        """How many deals were seen from that moment of the broker's on, in seconds."""
        with self._database.transaction() as sql:
            row = sql.execute("SELECT COUNT(*) FROM seen_deal WHERE terminal_id = ? AND time >= ?", (terminal_id, time))
            return int(row.fetchone()[0])

    def first_sight_of_order(self, terminal_id: str, ticket: int, time: int) -> bool:
        """Remember an order of the history; False when it was collected before."""
        with self._database.transaction() as sql:
            return (
                sql.execute("INSERT OR IGNORE INTO seen_order VALUES (?, ?, ?)", (terminal_id, ticket, time)).rowcount
                == 1
            )

    def forget_deals_before(self, terminal_id: str, time: int) -> None:
        with self._database.transaction() as sql:
            sql.execute("DELETE FROM seen_deal WHERE terminal_id = ? AND time < ?", (terminal_id, time))

    def forget_orders_before(self, terminal_id: str, time: int) -> None:
        with self._database.transaction() as sql:
            sql.execute("DELETE FROM seen_order WHERE terminal_id = ? AND time < ?", (terminal_id, time))


def _handle(
    role: str, owner: str, bot_id: str, pid: int, birth: str, started_at: float, fingerprint: str, body: str | None
) -> Handle:
    if body is None:  # written by an agent that knew plain processes only
        return Handle(Slot(Role(role), owner, bot_id), pid, birth, started_at, fingerprint)
    return handle_from_data(json.loads(body))


def _other_start(saved: str | None, present: str) -> bool:
    """Unknown on systems that do not name their starts, and in files of older agents."""
    return bool(saved) and bool(present) and saved != present
