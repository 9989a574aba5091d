"""Saves a Postgres database with COPY out of one snapshot, and puts it back into an empty one.

No program of Postgres is needed: pg_dump refuses every server that is newer than itself, COPY text is the same in all.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg2
from alembic import command
from alembic.util import CommandError
from psycopg2 import sql
from sqlalchemy import Connection, inspect

from control_plane.backup.manifest import Manifest, SavedTable
from control_plane.db.engine import Database
from control_plane.db.migrate import migration_config
from control_plane.db.tenancy import SYSTEM_SETTING
from control_plane.errors import ConfigurationError

ROWS = "rows"
"""Folder of the backup with a file for each table."""
_REVISIONS = "alembic_version"
_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    SYSTEM_SETTING: "on",
}
"""Under these, equal rows are equal text, and the policies of row-level security show all of them."""
_HIDDEN = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND row_security_active(c.oid)
AND (NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'system_rows' AND p.polcmd = '*'
                 AND p.polpermissive AND 0 = ANY (p.polroles))
     OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive))
ORDER BY 1
"""
"""Tables of which this role might see a part only."""


class _Writes(Protocol):
    def write(self, chunk: bytes, /) -> object: ...


class _Digest:
    """Takes what COPY writes, counts and hashes it, and hands it on."""

    def __init__(self, target: _Writes | None = None) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self._rows = 0

    def write(self, chunk: bytes) -> int:
        self._hash.update(chunk)
        self._rows += chunk.count(b"\n")  # COPY escapes those within values
        if self._target is not None:
            self._target.write(chunk)
        return len(chunk)

    def result(self) -> SavedTable:
        return SavedTable(rows=self._rows, content_sha256=self._hash.hexdigest())


def save_database(database: Database, backup: Path) -> tuple[dict[str, SavedTable], dict[str, int]]:
    """Tables and sequences of one consistent moment; others go on writing. Raises ConfigurationError."""
    (backup / ROWS).mkdir(mode=0o700)
    with _transaction(database, read_only=True) as (connection, cursor):
        _check_all_is_seen(cursor)
        tables = {}
        for name in sorted(_tables(cursor)):
            # mtime=0: equal rows make equal files.
            with gzip.GzipFile(_file(backup, name), "wb", compresslevel=3, mtime=0) as file:
                tables[name] = _copy_out(connection, cursor, name, file)
        return tables, _sequences(cursor)


def load_database(database: Database, backup: Path, manifest: Manifest) -> None:
    """Makes the schema of the backup and fills it, in the end compared row by row with what was saved.

    Raises ConfigurationError when the database is not empty, the backup is of a newer version, or a row differs.
    """
    if inspect(database.engine).get_table_names():
        raise ConfigurationError("the database to restore into is not empty; make a new one for it")
    config = migration_config(database)
    try:
        command.upgrade(config, manifest.revision)
    except CommandError as error:
        raise ConfigurationError(
            f"the backup has schema {manifest.revision}, which this version of the farm does not know"
        ) from error
    try:
        with _transaction(database, read_only=False) as (connection, cursor):
            _fill(connection, cursor, backup, manifest)
    except BaseException:
        command.downgrade(config, "base")
        with database.engine.begin() as leaving:
            leaving.exec_driver_sql(f"DROP TABLE {_REVISIONS}")
        raise


def _fill(connection: Connection, cursor: Any, backup: Path, manifest: Manifest) -> None:
    order = _parents_first(connection)
    if set(order) != manifest.tables.keys():
        odd = sorted(set(order) ^ manifest.tables.keys())
        raise ConfigurationError(f"the backup does not fit schema {manifest.revision}: table {odd[0]}")
    forced = _forced(cursor)
    for name in forced:  # COPY FROM and row-level security do not go together; the owner is bound by it when forced
        cursor.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(sql.Identifier(name)))
    for name in reversed(order):
        _remove_what_a_migration_put_there(cursor, name)
    for name in order:
        columns = sql.SQL(", ").join(map(sql.Identifier, _columns(cursor, name)))
        copy = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(name), columns)
        with gzip.open(_file(backup, name), "rb") as file:
            cursor.copy_expert(copy, file)
    for name, value in manifest.sequences.items():
        cursor.execute("SELECT setval(quote_ident(%s)::regclass, %s)", (name, value))
    for name, saved in manifest.tables.items():
        if _copy_out(connection, cursor, name, None) != saved:
            raise ConfigurationError(f"table {name} is not what was saved")
    for name in forced:
        cursor.execute(sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(sql.Identifier(name)))


@contextmanager
def _transaction(database: Database, *, read_only: bool) -> Iterator[tuple[Connection, Any]]:
    """One snapshot for all statements, committed at the end."""
    try:
        with database.engine.connect().execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=read_only
        ) as connection:
            cursor = connection.connection.cursor()
            for name, value in _SETTINGS.items():
                cursor.execute("SELECT set_config(%s, %s, true)", (name, value))
            yield connection, cursor
            connection.commit()
    except psycopg2.Error as error:
        # The first line names the cause; the others may quote a row.
        cause = str(error).strip().partition("\n")[0]
        raise ConfigurationError(f"Postgres does not let all rows through: {cause}") from error


def _copy_out(connection: Connection, cursor: Any, table: str, file: _Writes | None) -> SavedTable:
    columns = _columns(cursor, table)
    keys = inspect(connection).get_pk_constraint(table)["constrained_columns"] or columns
    # By bytes, since another server may sort text otherwise.
    by = sql.SQL(", ").join(sql.SQL('{}::text COLLATE "C"').format(sql.Identifier(key)) for key in keys)
    query = sql.SQL("COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(table), by
    )
    digest = _Digest(file)
    cursor.copy_expert(query, digest)
    return digest.result()


def _check_all_is_seen(cursor: Any) -> None:
    """Raises ConfigurationError rather than that a part is saved as if it were the whole."""
    cursor.execute(_HIDDEN)
    hidden = [name for (name,) in cursor.fetchall()]
    if hidden:
        raise ConfigurationError(f"row-level security may hide rows of {', '.join(hidden)}; no backup was made")


def _forced(cursor: Any) -> list[str]:
    cursor.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relforcerowsecurity"
    )
    return [name for (name,) in cursor.fetchall()]


def _tables(cursor: Any) -> list[str]:
    """All of the farm's schema, also such as no model knows."""
    cursor.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> %s",
        (_REVISIONS,),
    )
    return [name for (name,) in cursor.fetchall()]


def _columns(cursor: Any, table: str) -> list[str]:
    """In the order in which they were made; computed ones compute themselves."""
    cursor.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = quote_ident(%s)::regclass"
        " AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attname",
        (table,),
    )
    return [name for (name,) in cursor.fetchall()]


def _sequences(cursor: Any) -> dict[str, int]:
    cursor.execute(
        "SELECT sequencename, last_value FROM pg_sequences"
        " WHERE schemaname = current_schema() AND last_value IS NOT NULL"
    )
    return dict(cursor.fetchall())


def _parents_first(connection: Connection) -> list[str]:
    """So that no row comes before what it refers to."""
    names = [name for name, _ in inspect(connection).get_sorted_table_and_fkc_names()]
    return [name for name in names if name is not None and name != _REVISIONS]


def _remove_what_a_migration_put_there(cursor: Any, table: str) -> None:
    name = sql.Identifier(table)
    cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(name))
    if cursor.fetchone() == (True,):
        cursor.execute(sql.SQL("DELETE FROM {}").format(name))


def _file(backup: Path, table: str) -> Path:
    return backup / ROWS / f"{table}.copy.gz"
