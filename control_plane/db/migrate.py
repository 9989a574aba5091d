"""Brings a database up to the newest revision when a process starts."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from control_plane.db.engine import Database
from control_plane.errors import ConfigurationError

_MIGRATIONS = Path(__file__).parent / "migrations"
_TURN = 0x6D74356661726D
"""Number of the lock on Postgres by which processes take turns: "mt5farm"."""
_TURN_SECONDS = 120.0
_LOOK_SECONDS = 0.1
LOCK_SECONDS = 5.0


def migration_config(database: Database) -> Config:
    """Alembic's configuration, without a file: the address may hold a password and never leaves memory."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["database"] = database
    return config


def newest_revision(database: Database) -> str:
    """The one that this version of the farm is made for."""
    return str(ScriptDirectory.from_config(migration_config(database)).get_current_head())


def upgrade(database: Database, data: Path, lock_seconds: float = LOCK_SECONDS) -> None:
    """Several processes take turns, on one data folder or on one Postgres. Raises ConfigurationError.

    On Postgres a statement waits `lock_seconds` for its table: all others would have to queue behind it.
    """
    config = migration_config(database)
    config.attributes["lock_seconds"] = lock_seconds
    with (data / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            with _turn(database):
                command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigurationError(f"the database belongs to another version of the farm: {error}") from error
        except DBAPIError as error:
            if isinstance(error.orig, psycopg2.errors.LockNotAvailable):
                raise ConfigurationError(
                    "the database cannot be brought up to date while a table of it is in use for so long; try again"
                ) from error
            raise ConfigurationError(f"the database cannot be used: {error.orig}") from error


@contextmanager
def _turn(database: Database) -> Iterator[None]:
    if database.is_sqlite:
        yield  # all its processes share the data folder
        return
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Asked for again and again: who waits within a statement would hold up indexes that are made CONCURRENTLY.
        deadline = time.monotonic() + _TURN_SECONDS
        while not connection.scalar(text("SELECT pg_try_advisory_lock(:turn)"), {"turn": _TURN}):
            if time.monotonic() > deadline:
                raise ConfigurationError("another process has been changing the database for too long")
            time.sleep(_LOOK_SECONDS)
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:turn)"), {"turn": _TURN})
