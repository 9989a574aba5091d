"""Brings a database up to the newest revision, or says that somebody has to."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from control_plane.db import row_security
from control_plane.db.engine import Database
from control_plane.errors import ConfigurationError

_MIGRATIONS = Path(__file__).parent / "migrations"


def migration_config(database: Database) -> Config:
    """Alembic's configuration, without a file: the address may hold a password and never leaves memory."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["database"] = database
    return config


def upgrade(database: Database, data: Path) -> None:
    """Several processes on one data folder take turns. Raises ConfigurationError."""
    with (data / "migrate.lock").open("w") as lock, _usable():
        fcntl.flock(lock, fcntl.LOCK_EX)
        command.upgrade(migration_config(database), "head")


def upgrade_as_owner(owner_url: str, application_url: str, data: Path) -> None:
    """The same on Postgres: the owner's role makes the tables, the application's may use them.

    Raises ConfigurationError.
    """
    role = make_url(application_url).username
    if not role:
        raise ConfigurationError("the address of the database names no role for the application")
    owner = Database(owner_url)
    try:
        upgrade(owner, data)
        with _usable(), owner.engine.begin() as connection:
            row_security.grant(connection, role)
    finally:
        owner.close()


def require_ready(database: Database) -> None:
    """On Postgres: the newest revision, and a role that row-level security binds. Raises ConfigurationError."""
    with _usable(), database.engine.connect() as connection:
        present = set(MigrationContext.configure(connection).get_current_heads())
        wanted = set(ScriptDirectory.from_config(migration_config(database)).get_heads())
        if present != wanted:
            raise ConfigurationError(
                f"the database is at revision {', '.join(sorted(present)) or 'none'}, and the farm needs "
                f"{', '.join(sorted(wanted))}: run `mt5farm migrate` with MT5FARM_DATABASE_OWNER_URL"
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
        raise ConfigurationError(f"the database cannot be used: {error.orig}") from error
