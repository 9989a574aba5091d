"""Brings a database up to the newest revision when a process starts."""

from __future__ import annotations

import fcntl
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

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
    with (data / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            command.upgrade(migration_config(database), "head")
        except CommandError as error:
            raise ConfigurationError(f"the database belongs to another version of the farm: {error}") from error
        except DBAPIError as error:
            raise ConfigurationError(f"the database cannot be used: {error.orig}") from error
