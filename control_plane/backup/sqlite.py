"""Saves a SQLite database with its online backup API, while others read and write, and puts it back."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from control_plane.backup.manifest import SavedTable
from control_plane.errors import ConfigurationError

_DATABASE = "farm.sqlite3"
_PATIENCE_SECONDS = 60.0


def save_database(source: Path, backup: Path) -> dict[str, SavedTable]:
    """One consistent moment of the database. Raises ConfigurationError when it cannot be read or is damaged."""
    copy = backup / _DATABASE
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as theirs,
            closing(sqlite3.connect(copy, isolation_level=None)) as ours,
        ):
            theirs.execute(f"PRAGMA busy_timeout={int(_PATIENCE_SECONDS * 1000)}")
            # All pages in one step: writers go on beside it, and none of them makes it begin again.
            theirs.backup(ours, pages=-1)
            ours.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
            check_database(ours, copy)
            return _tables(ours)
    except sqlite3.Error as error:
        raise ConfigurationError(f"the database {source} cannot be saved: {error}") from error


def load_database(backup: Path, target: Path) -> dict[str, SavedTable]:
    """Whole or not at all. Raises ConfigurationError when there is a database already, or this one is damaged."""
    if target.exists():
        raise ConfigurationError(f"{target} is there already; restore into a folder without a farm")
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(backup / _DATABASE, draft)
        with closing(sqlite3.connect(draft)) as connection:
            check_database(connection, backup / _DATABASE)
            tables = _tables(connection)
        draft.chmod(0o600)
        draft.replace(target)
    except sqlite3.Error as error:
        raise ConfigurationError(f"{backup / _DATABASE} cannot be restored: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return tables


def check_database(connection: sqlite3.Connection, path: Path) -> None:
    """Raises ConfigurationError for pages that are damaged and for rows that refer to nothing."""
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise ConfigurationError(f"the database {path} is damaged: {verdict}")
    orphan = connection.execute("PRAGMA foreign_key_check").fetchone()
    if orphan is not None:
        raise ConfigurationError(f"the database {path} is damaged: a row of {orphan[0]} refers to nothing")


def _tables(connection: sqlite3.Connection) -> dict[str, SavedTable]:
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name"
    ).fetchall()
    return {name: SavedTable(rows=_rows(connection, name)) for (name,) in names}


def _rows(connection: sqlite3.Connection, table: str) -> int:
    quoted = table.replace('"', '""')
    (rows,) = connection.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()  # noqa: S608 - a name of the schema
    return int(rows)
