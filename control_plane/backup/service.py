"""Make a backup of a farm that may be running, and make a farm of a backup."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from control_plane.backup import postgres, sqlite
from control_plane.backup.files import LEFT_OUT, check_room, load_files, save_files
from control_plane.backup.manifest import Manifest, flush_to_disk, read_manifest, write_manifest
from control_plane.clock import Clock
from control_plane.config import Settings
from control_plane.db import row_security
from control_plane.db.engine import Database, sqlite_url
from control_plane.db.migrate import role_of
from control_plane.errors import ConfigurationError

_SQLITE = "sqlite"
_POSTGRES = "postgresql"


@dataclass(frozen=True)
class Saved:
    """What a person is told of a backup."""

    manifest: Manifest
    size: int
    """Bytes."""
    unknown: list[str]
    """Entries of the data folder that no version of the farm is known to make; they are not in the backup."""


def make_backup(settings: Settings, target: Path, clock: Clock) -> Saved:
    """Whole or not at all; the farm goes on meanwhile. Raises ConfigurationError."""
    _check_free(target)
    if not settings.data.is_dir():
        raise ConfigurationError(f"there is no farm in {settings.data}")
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.mkdir(mode=0o700, parents=True)
    try:
        # The files after the database: what it refers to is written before the row that refers to it.
        manifest = _save_database(settings, draft, clock)
        left_out = save_files(settings.data, draft)
        write_manifest(draft, manifest.model_copy(update={"left_out": left_out}))
        flush_to_disk(draft)
        if target.exists():
            target.rmdir()
        draft.replace(target)
    except OSError as error:
        raise ConfigurationError(f"the backup {target} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    return Saved(manifest, size, [name for name in left_out if name not in LEFT_OUT])


def restore(backup: Path, settings: Settings) -> Manifest:
    """Every row and file as it was saved, into a folder and a database without a farm. Raises ConfigurationError."""
    manifest = read_manifest(backup)
    wanted = _POSTGRES if settings.database_url and not settings.database_url.startswith(_SQLITE) else _SQLITE
    if manifest.database != wanted:
        raise ConfigurationError(f"the backup is of a {manifest.database} database, this farm is to use {wanted}")
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        check_room(settings.data)
        if wanted == _SQLITE:
            _load_sqlite(backup, settings, manifest)
        else:
            _load_postgres(backup, settings, manifest)
        load_files(backup, settings.data)
    except OSError as error:
        raise ConfigurationError(f"{settings.data} cannot be written: {error.strerror}") from error
    return manifest


def _load_sqlite(backup: Path, settings: Settings, manifest: Manifest) -> None:
    if sqlite.load_database(backup, _sqlite_file(settings)) != manifest.tables:
        raise ConfigurationError(f"the database in {backup} does not have the rows that its manifest names")


def _load_postgres(backup: Path, settings: Settings, manifest: Manifest) -> None:
    """As the owner of the tables; the application's role may use them afterwards."""
    if settings.database_url is None or settings.database_owner_url is None:
        raise ConfigurationError("to restore on Postgres, name the tables' owner: MT5FARM_DATABASE_OWNER_URL")
    role = role_of(settings.database_url)
    with closing(Database(settings.database_owner_url)) as owner:
        postgres.load_database(owner, backup, manifest)
        with owner.engine.begin() as connection:
            row_security.grant(connection, role)


def _save_database(settings: Settings, draft: Path, clock: Clock) -> Manifest:
    with _opened(settings) as database:
        made_at, revision = clock.now(), _revision(database)
        sequences: dict[str, int] = {}
        if database.is_sqlite:
            kind, tables = _SQLITE, sqlite.save_database(_sqlite_file(settings), draft)
        else:
            kind = _POSTGRES
            tables, sequences = postgres.save_database(database, draft)
    return Manifest(
        made_at=made_at,
        farm_version=version("mt5farm"),
        database=kind,
        revision=revision,
        tables=tables,
        sequences=sequences,
    )


@contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    """As it is: a backup before an upgrade must not upgrade."""
    if settings.database_url is None and not _sqlite_file(settings).exists() and settings.data.is_dir():
        raise ConfigurationError(f"there is no farm in {settings.data}")
    with closing(Database(settings.database_url or sqlite_url(_sqlite_file(settings)))) as database:
        yield database


def _revision(database: Database) -> str:
    try:
        with database.read_as_system() as session:
            return str(session.scalar(text("SELECT version_num FROM alembic_version")))
    except DBAPIError as error:
        raise ConfigurationError("the database holds no farm, or cannot be reached") from error


def _sqlite_file(settings: Settings) -> Path:
    return settings.data / "farm.sqlite3"


def _check_free(target: Path) -> None:
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ConfigurationError(f"{target} is there already; a backup needs a folder of its own")
