"""Brings a database up to the newest revision, or says that somebody has to."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg2
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from control_plane.db import row_security
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
    config = _scripts()
    config.attributes["database"] = database
    return config


def _scripts() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


@cache
def newest_revision() -> str:
    """The one that this version of the farm is made for. Read once: the files are the program's own."""
    return str(ScriptDirectory.from_config(_scripts()).get_current_head())


def upgrade(database: Database, data: Path, *, role: str = "", lock_seconds: float = LOCK_SECONDS) -> None:
    """Several processes take turns, on one data folder or on one Postgres. Raises ConfigurationError.

    On Postgres `role`, if any, may use the tables afterwards. A statement waits `lock_seconds` for its table: all
    others would have to queue behind it.
    """
    config = migration_config(database)
    config.attributes["lock_seconds"] = lock_seconds
    with (data / "migrate.lock").open("w") as lock, _usable():
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _turn(database):
            command.upgrade(config, "head")
            if role:
                with database.engine.begin() as connection:
                    row_security.grant(connection, role)


def upgrade_as_owner(owner_url: str, application_url: str, data: Path) -> None:
    """On Postgres: the owner's role makes the tables, the application's may use them. Raises ConfigurationError."""
    owner = Database(owner_url)
    try:
        upgrade(owner, data, role=role_of(application_url))
    finally:
        owner.close()


def role_of(application_url: str) -> str:
    """Raises ConfigurationError."""
    role = make_url(application_url).username
    if not role:
        raise ConfigurationError("the address of the database names no role for the application")
    return role


def require_ready(database: Database) -> None:
    """On Postgres: the newest revision, and a role that row-level security binds. Raises ConfigurationError."""
    with _usable(), database.engine.connect() as connection:
        present = MigrationContext.configure(connection).get_current_revision()
        wanted = newest_revision()
        if present != wanted:
            raise ConfigurationError(
                f"the database is at revision {present or 'none'}, and the farm needs {wanted}: "
                "run `mt5farm migrate` with MT5FARM_DATABASE_OWNER_URL"
            )
        weak = row_security.weaknesses(connection)
    if weak:
        raise ConfigurationError(f"the database would not keep tenants apart: {'; '.join(weak)}; see docs/tenancy.md")


@contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
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
