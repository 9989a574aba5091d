"""A control plane's database in memory: copied from a template for each seed, able to die in any statement."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from control_plane.db.engine import Database
from control_plane.db.migrate import upgrade

_URL = "sqlite+pysqlite://"
_BROKEN = "sim_broken"
_TRIGGERS = f"""
CREATE TABLE IF NOT EXISTS {_BROKEN} (what TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sim_locks (node_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sim_released (assignment_id TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS sim_epoch_lowered BEFORE UPDATE OF last_epoch ON terminals
WHEN NEW.last_epoch < OLD.last_epoch
BEGIN INSERT INTO {_BROKEN} VALUES ('epoch of ' || OLD.id || ' was lowered'); END;
CREATE TRIGGER IF NOT EXISTS sim_epoch_reused BEFORE INSERT ON assignments
WHEN NEW.epoch <= (SELECT coalesce(max(epoch), 0) FROM assignments WHERE terminal_id = NEW.terminal_id)
BEGIN INSERT INTO {_BROKEN} VALUES ('epoch of ' || NEW.terminal_id || ' did not rise'); END;
CREATE TRIGGER IF NOT EXISTS sim_capacity AFTER INSERT ON assignments
WHEN (SELECT count(*) FROM assignments WHERE node_id = NEW.node_id AND released_at IS NULL)
   > (SELECT slots FROM nodes WHERE id = NEW.node_id)
BEGIN INSERT INTO {_BROKEN} VALUES ('node ' || NEW.node_id || ' holds more terminals than it has slots'); END;
CREATE TRIGGER IF NOT EXISTS sim_unfit_node BEFORE INSERT ON assignments
WHEN EXISTS (SELECT 1 FROM nodes WHERE id = NEW.node_id
             AND (availability <> 'open' OR identity_state <> 'trusted' OR state <> 'online'))
BEGIN INSERT INTO {_BROKEN} VALUES ('a place on a node that takes none: ' || NEW.node_id); END;
CREATE TRIGGER IF NOT EXISTS sim_unwanted BEFORE INSERT ON assignments
WHEN EXISTS (SELECT 1 FROM terminals WHERE id = NEW.terminal_id AND (intent <> 'running' OR hold <> 'none'))
BEGIN INSERT INTO {_BROKEN} VALUES ('a place for a terminal that should not run: ' || NEW.terminal_id); END;
CREATE TRIGGER IF NOT EXISTS sim_locked AFTER UPDATE OF identity_state ON nodes
WHEN NEW.identity_state = 'locked' AND OLD.identity_state <> 'locked'
BEGIN INSERT INTO sim_locks VALUES (NEW.id); END;
CREATE TRIGGER IF NOT EXISTS sim_revived BEFORE UPDATE OF released_at ON assignments
WHEN OLD.released_at IS NOT NULL
BEGIN INSERT INTO {_BROKEN} VALUES ('released assignment ' || OLD.id || ' changed again'); END;
CREATE TRIGGER IF NOT EXISTS sim_release AFTER UPDATE OF released_at ON assignments
WHEN OLD.released_at IS NULL AND NEW.released_at IS NOT NULL
BEGIN INSERT INTO sim_released VALUES (NEW.id); END;
"""


class CrashError(BaseException):
    """The process that runs this code dies here. No handler of the farm catches it."""


class _KeptConnection(sqlite3.Connection):
    """SQLAlchemy closes the connection of code that dies; the data must outlive that."""

    def close(self) -> None:
        """Only `discard` ends it."""


class Dialect:
    """SQLAlchemy's engine, made once for all seeds: it remembers the statements that it has put together."""

    def __init__(self) -> None:
        self.present: MemoryDatabase | None = None
        self.engine = create_engine(
            _URL, creator=lambda: self._now().connection, poolclass=StaticPool, hide_parameters=True
        )
        event.listen(self.engine, "begin", lambda _connection: self._now().connection.execute("BEGIN IMMEDIATE"))
        event.listen(self.engine, "before_cursor_execute", lambda *_details: self._now().before_statement())

    def _now(self) -> MemoryDatabase:
        assert self.present is not None
        return self.present

    def use(self, database: MemoryDatabase) -> None:
        self.engine.dispose()
        self.present = database


class MemoryDatabase(Database):
    """One connection for the one thread. Triggers watch what must never be written, whoever writes it."""

    def __init__(self, dialect: Dialect, image: bytes | None = None) -> None:
        self.connection = sqlite3.connect(
            ":memory:", check_same_thread=False, isolation_level=None, factory=_KeptConnection
        )
        if image is not None:
            self.connection.deserialize(image)
        self.connection.execute("PRAGMA foreign_keys=ON")
        self.url, self.is_sqlite = _URL, True
        dialect.use(self)
        self.engine = self._writing = self._writing_recoverable = self._reading = dialect.engine
        self._dies_in: int | None = None
        self.transactions = 0

    def arm(self, statements: int) -> None:
        """Die before the n-th statement from now that is executed inside a call of the control plane."""
        self._dies_in = statements

    def disarm(self) -> bool:
        """Whether it was still armed."""
        armed, self._dies_in = self._dies_in is not None, None
        return armed

    @contextmanager
    def _write(self, tenant_id: str | None, engine: Engine) -> Iterator[Session]:
        self.transactions += 1
        with super()._write(tenant_id, engine) as session:
            yield session

    def image(self) -> bytes:
        return self.connection.serialize()

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Look at the truth without the farm's own code. Never inside a transaction of the farm."""
        return self.connection.execute(sql, parameters).fetchall()

    def broken(self) -> list[str]:
        return [row[0] for row in self.query(f"SELECT what FROM {_BROKEN}")]

    def ever_locked(self) -> bool:
        return bool(self.query("SELECT 1 FROM sim_locks LIMIT 1"))

    def take_released(self) -> list[tuple[str, str, int, str]]:
        """Terminal, node, epoch and proof of the assignments released since the last call."""
        rows = self.query(
            "SELECT a.terminal_id, a.node_id, a.epoch, a.ended_by FROM assignments a "
            "JOIN sim_released r ON r.assignment_id = a.id"
        )
        if rows:
            self.connection.execute("DELETE FROM sim_released")
        return [(str(terminal), str(node), int(epoch), str(proof)) for terminal, node, epoch, proof in rows]

    def abort(self) -> None:
        """What the database does with the transaction of a process that died."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def before_statement(self) -> None:
        if self._dies_in is not None:
            self._dies_in -= 1
            if self._dies_in <= 0:
                self._dies_in = None
                raise CrashError

    def close(self) -> None:
        """The data outlives every process that used it."""

    def discard(self) -> None:
        self.engine.dispose()
        sqlite3.Connection.close(self.connection)


def template_image(dialect: Dialect) -> bytes:
    """A migrated, empty database with the triggers."""
    database = MemoryDatabase(dialect)
    with tempfile.TemporaryDirectory() as folder:
        upgrade(database, Path(folder))
    database.connection.executescript(_TRIGGERS)
    image = database.image()
    database.discard()
    return image
