"""Engine and unit of work: one session is one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from control_plane.db.tenancy import ScopedSession, Statements
from control_plane.db.turns import Turns
from control_plane.errors import UnavailableError

_COMPILED_STATEMENTS = 2_000
"""More than the farm has; what falls out of the cache is compiled again, a millisecond each."""
_MOST_PAGES_OF_LOG = 20_000
"""Of 4 kB, where nothing else does `Database.checkpoint`."""
_BUSY_SECONDS = 15.0
_WORTH_TELLING_SECONDS = 5.0
_BEFORE_COMMIT = "mt5farm_before_commit"
_AFTER_COMMIT = "mt5farm_after_commit"
_BEGIN_OPTION = "mt5farm_begin"
_RECOVERABLE_OPTION = "mt5farm_recoverable"
_SYNCHRONOUS = "mt5farm_synchronous"
_DURABLE = "FULL"
_log = structlog.get_logger(__name__)


def sqlite_url(path: Path) -> str:
    return f"sqlite+pysqlite:///{path}"


class Database:
    """Opens transactions. `write` takes SQLite's write lock at once, so that a read within it cannot go stale."""

    _turns: Turns | None = None
    """For the writers of this process, where the database has one lock for all of them."""

    def __init__(self, url: str) -> None:
        self.url = url
        address = make_url(url)
        self.is_sqlite = address.get_backend_name() == "sqlite"
        if address.drivername == "postgresql":
            address = address.set(drivername="postgresql+psycopg2")  # the driver that the farm brings along
        if self.is_sqlite:
            self._turns = Turns()
            self.engine = create_engine(
                address,
                pool_size=20,
                query_cache_size=_COMPILED_STATEMENTS,
                max_overflow=40,
                connect_args={"check_same_thread": False},
                hide_parameters=True,  # an error's text goes to the log, where no hash or sealed value belongs
            )
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            self.engine = create_engine(
                address,
                pool_size=40,
                query_cache_size=_COMPILED_STATEMENTS,
                max_overflow=0,
                pool_pre_ping=True,
                hide_parameters=True,
                executemany_mode="values_plus_batch",  # many changed rows go in few messages, instead of one each
            )
        self._writing: Engine = self.engine.execution_options(**{_BEGIN_OPTION: "BEGIN IMMEDIATE"})
        self._writing_recoverable: Engine = self._writing.execution_options(**{_RECOVERABLE_OPTION: True})
        self._reading: Engine = self.engine
        if not self.is_sqlite:
            event.listen(self.engine, "begin", _begin_postgres)
            self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def read(self, tenant_id: str) -> AbstractContextManager[Session]:
        """A consistent view of what belongs to one tenant; nothing is committed."""
        return self._read(tenant_id)

    def read_as_system(self) -> AbstractContextManager[Session]:
        """The same of all tenants: for the farm's own work, and for the operator's team."""
        return self._read(None)

    def look(self, tenant_id: str) -> AbstractContextManager[Statements]:
        """As `read`, for statements past the models: a session would cost more than they do."""
        return self._look(tenant_id)

    def look_as_system(self) -> AbstractContextManager[Statements]:
        """As `read_as_system`, for statements past the models."""
        return self._look(None)

    def write(self, tenant_id: str, *, recoverable: bool = False) -> AbstractContextManager[Session]:
        """Touches one tenant's rows only. Commits at the end, or rolls back on any error.

        Functions given to `after_commit` run after the commit. Raises UnavailableError when other writers have not let
        it through for 15 s. Must not be nested.

        What is `recoverable` would be found out again if it were lost, so the commit does not wait for the disk: a
        power cut may take the last of these commits back, and never one without those that came after it.
        """
        return self._write(tenant_id, self._writing_recoverable if recoverable else self._writing)

    def note(self, tenant_id: str) -> AbstractContextManager[Statements]:
        """As `write`, for rows that go past the models."""
        return self._note(tenant_id)

    def write_as_system(self) -> AbstractContextManager[Session]:
        """The same for all tenants: for the farm's own work, and for the operator's team."""
        return self._write(None, self._writing)

    @contextmanager
    def _read(self, tenant_id: str | None) -> Iterator[Session]:
        with ScopedSession(self._reading, tenant_id) as session:
            yield session

    @contextmanager
    def _look(self, tenant_id: str | None) -> Iterator[Statements]:
        with self._reading.connect() as connection, connection.begin():
            yield Statements(connection, tenant_id)

    @contextmanager
    def _write(self, tenant_id: str | None, engine: Engine) -> Iterator[Session]:
        with self._turn(), ScopedSession(engine, tenant_id) as session, session.begin():
            yield session
            _run_steps(session, _BEFORE_COMMIT)
        _run_steps(session, _AFTER_COMMIT)

    @contextmanager
    def _note(self, tenant_id: str) -> Iterator[Statements]:
        with self._turn(), self._writing.connect() as connection, connection.begin():
            statements = Statements(connection, tenant_id)
            yield statements
            _run_steps(statements, _BEFORE_COMMIT)
        _run_steps(statements, _AFTER_COMMIT)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._turns is None:
            yield
            return
        asked_at = time.monotonic()
        if not self._turns.take(_BUSY_SECONDS):
            raise UnavailableError(
                "The farm is busy; please try again.", code="database_busy", retryable=True, retry_after=5
            )
        taken_at = time.monotonic()
        try:
            yield
        finally:
            self._turns.give()
            waited, held = taken_at - asked_at, time.monotonic() - taken_at
            if max(waited, held) >= _WORTH_TELLING_SECONDS:
                _log.warning("slow_write", waited_seconds=round(waited, 1), held_seconds=round(held, 1))

    def checkpoint(self) -> None:
        """Carry what SQLite's log holds over to its file, beside those who read and write; otherwise one commit in a
        while does it, and keeps its user waiting.
        """
        if self.is_sqlite:
            connection = self.engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").close()
            finally:
                connection.close()

    def close(self) -> None:
        self.engine.dispose()


def _run_steps(session: Session | Statements, when: str) -> None:
    steps: list[Callable[[], None]] = session.info.pop(when, [])
    for step in steps:
        step()


def before_commit(session: Session | Statements, callback: Callable[[], None]) -> None:
    """Run `callback` as the last step of a transaction of `Database.write`, still inside it; never when it fails."""
    session.info.setdefault(_BEFORE_COMMIT, []).append(callback)


def after_commit(session: Session | Statements, callback: Callable[[], None]) -> None:
    """Run `callback` once the transaction of `session` is committed; never when it is rolled back."""
    session.info.setdefault(_AFTER_COMMIT, []).append(callback)


def is_unreachable(error: Exception) -> bool:
    """Whether this came of the database, whatever was asked of it; the same at once again would only take long."""
    if isinstance(error, OperationalError | InterfaceError):
        return getattr(error.orig, "pgcode", None) is None
    return isinstance(error, UnavailableError | PoolTimeoutError)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver would otherwise open transactions by itself, and never with IMMEDIATE.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        f"synchronous={_DURABLE}",  # what is acknowledged to a node must outlive a power cut
        f"wal_autocheckpoint={_MOST_PAGES_OF_LOG}",
        "foreign_keys=ON",
        f"busy_timeout={round(_BUSY_SECONDS * 1000)}",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    begin = options.get(_BEGIN_OPTION)
    if begin is None:  # it only reads, so it commits nothing
        _tell_sqlite(connection, "BEGIN")
        return
    wanted = "NORMAL" if options.get(_RECOVERABLE_OPTION, False) else _DURABLE
    if connection.info.setdefault(_SYNCHRONOUS, _DURABLE) != wanted:
        _tell_sqlite(connection, f"PRAGMA synchronous={wanted}")
        connection.info[_SYNCHRONOUS] = wanted
    connection.exec_driver_sql(begin)  # which waits for others, and may fail for them


def _tell_sqlite(connection: Connection, command: str) -> None:
    """What waits for nobody and answers nothing, without what the library does around a statement."""
    sqlite: Any = connection.connection.driver_connection
    sqlite.execute(command).close()


def _begin_postgres(connection: Connection) -> None:
    if connection.get_execution_options().get(_RECOVERABLE_OPTION, False):
        connection.exec_driver_sql("SET LOCAL synchronous_commit TO OFF")
