"""Engine and unit of work: one session is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

_BUSY_TIMEOUT_MS = 15_000
_BEFORE_COMMIT = "mt5farm_before_commit"
_AFTER_COMMIT = "mt5farm_after_commit"
_BEGIN_OPTION = "mt5farm_begin"


def sqlite_url(path: Path) -> str:
    return f"sqlite+pysqlite:///{path}"


class Database:
    """Opens transactions. `write` takes SQLite's write lock at once, so that a read within it cannot go stale."""

    def __init__(self, url: str) -> None:
        self.url = url
        address = make_url(url)
        self.is_sqlite = address.get_backend_name() == "sqlite"
        if address.drivername == "postgresql":
            address = address.set(drivername="postgresql+psycopg2")  # the driver that the farm brings along
        if self.is_sqlite:
            self.engine = create_engine(
                address,
                pool_size=20,
                max_overflow=40,
                connect_args={"check_same_thread": False},
                hide_parameters=True,  # an error's text goes to the log, where no hash or sealed value belongs
            )
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            self.engine = create_engine(
                address, pool_size=20, max_overflow=20, pool_pre_ping=True, hide_parameters=True
            )
        self._writing: Engine = self.engine.execution_options(**{_BEGIN_OPTION: "BEGIN IMMEDIATE"})

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view; nothing is committed."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Commits at the end, or rolls back on any error. Functions given to `after_commit` run after the commit."""
        with Session(self._writing, expire_on_commit=False) as session:
            with session.begin():
                yield session
                for last_step in session.info.pop(_BEFORE_COMMIT, []):
                    last_step()
            callbacks: list[Callable[[], None]] = session.info.pop(_AFTER_COMMIT, [])
        for callback in callbacks:
            callback()

    def close(self) -> None:
        self.engine.dispose()


def before_commit(session: Session, callback: Callable[[], None]) -> None:
    """Run `callback` as the last step of a transaction of `Database.write`, still inside it; never when it fails."""
    session.info.setdefault(_BEFORE_COMMIT, []).append(callback)


def after_commit(session: Session, callback: Callable[[], None]) -> None:
    """Run `callback` once the transaction of `session` is committed; never when it is rolled back."""
    session.info.setdefault(_AFTER_COMMIT, []).append(callback)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver would otherwise open transactions by itself, and never with IMMEDIATE.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # what is acknowledged to a node must outlive a power cut
        "foreign_keys=ON",
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN_OPTION, "BEGIN"))
