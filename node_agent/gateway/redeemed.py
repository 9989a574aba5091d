"""Ids of tickets that were used, kept until they would have expired anyway. A restart forgets none."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from node_agent.protocol.tickets import CLOCK_SKEW_SECONDS, LIFETIME_SECONDS

_KEEP_SECONDS = LIFETIME_SECONDS + 2 * CLOCK_SKEW_SECONDS


class RedeemedTickets:
    """Safe to use from several threads. Raises sqlite3.Error when the disk fails; then no ticket can be honoured."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS redeemed (ticket_id TEXT PRIMARY KEY, until REAL NOT NULL)"
        )
        path.chmod(0o600)

    def redeem(self, ticket_id: str, now: float) -> bool:
        """False when the ticket was redeemed before. `now` is seconds since 1970, UTC."""
        with self._lock:
            self._connection.execute("DELETE FROM redeemed WHERE until < ?", (now,))
            inserted = self._connection.execute(
                "INSERT OR IGNORE INTO redeemed VALUES (?, ?)", (ticket_id, now + _KEEP_SECONDS)
            )
            return inserted.rowcount == 1

    def close(self) -> None:
        with self._lock:
            self._connection.close()
