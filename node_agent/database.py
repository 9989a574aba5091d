"""The agent's one SQLite file: opened once, shared by all threads, one transaction at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node_agent.errors import StorageError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS handle (
    role TEXT NOT NULL, owner TEXT NOT NULL, bot_id TEXT NOT NULL,
    pid INTEGER NOT NULL, birth TEXT NOT NULL, started_at REAL NOT NULL, fingerprint TEXT NOT NULL,
    body TEXT,
    PRIMARY KEY (role, owner, bot_id)
);
CREATE TABLE IF NOT EXISTS terminal (terminal_id TEXT PRIMARY KEY, memory TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS snapshot (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL, boot TEXT);
CREATE TABLE IF NOT EXISTS time_base (
    one INTEGER PRIMARY KEY CHECK (one = 1), boot TEXT NOT NULL, seconds REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS cursor (
    terminal_id TEXT NOT NULL, source TEXT NOT NULL, position TEXT NOT NULL,
    PRIMARY KEY (terminal_id, source)
);
CREATE TABLE IF NOT EXISTS seen_deal (
    terminal_id TEXT NOT NULL, ticket INTEGER NOT NULL, time INTEGER NOT NULL, digest TEXT,
    PRIMARY KEY (terminal_id, ticket)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen_order (
    terminal_id TEXT NOT NULL, ticket INTEGER NOT NULL, time INTEGER NOT NULL,
    PRIMARY KEY (terminal_id, ticket)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_deal_time ON seen_deal (terminal_id, time);
CREATE INDEX IF NOT EXISTS seen_order_time ON seen_order (terminal_id, time);
CREATE TABLE IF NOT EXISTS spool (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS unreadable (event_id TEXT PRIMARY KEY, body TEXT NOT NULL);
"""


class Database:
    """Transactions on one connection.

    A committed transaction survives `kill -9` of the agent. What the broker and the bridge journal also know may be
    lost with the machine's power, so commits do not wait for the disk.
    """

    def __init__(self, path: Path) -> None:
        """Raises StorageError."""
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
            self._add_missing_columns()
            path.chmod(0o600)
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"the agent's database {path} cannot be opened: {error}") from error

    def _add_missing_columns(self) -> None:
        """To the tables of an agent older than this one, whose processes may still run."""
        if "body" not in {row[1] for row in self._connection.execute("PRAGMA table_info(handle)")}:
            self._connection.execute("ALTER TABLE handle ADD COLUMN body TEXT")
        if "boot" not in {row[1] for row in self._connection.execute("PRAGMA table_info(snapshot)")}:
            self._connection.execute("ALTER TABLE snapshot ADD COLUMN boot TEXT")
        if "digest" not in {row[1] for row in self._connection.execute("PRAGMA table_info(seen_deal)")}:
            self._connection.execute("ALTER TABLE seen_deal ADD COLUMN digest TEXT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; nested uses join the outer transaction. Raises StorageError, then nothing was written."""
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise StorageError(f"the agent's database cannot be written: {error}") from error
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some errors (disk full), then there is nothing left to do.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        with self._lock:
            self._connection.close()
