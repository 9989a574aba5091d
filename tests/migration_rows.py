"""Rows for every table of a schema that is known from the database alone, so that a new migration meets data too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, MetaData, Table, func, insert, inspect, select, types

from control_plane.db.engine import Database, sqlite_url
from control_plane.db.migrate import migration_config
from tests.postgres import see_everything

REVISIONS_TABLE = "alembic_version"
GIVEN_UP = {"sign_in_failures"}
"""Tables whose rows a later revision drops on purpose: these counted for a quarter of an hour."""
ONLY_POSTGRES = {"0005"}
"""Revisions that change nothing on SQLite."""
_MOMENT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
Rows = dict[str, list[dict[str, Any]]]


def revisions() -> list[tuple[str, str]]:
    """Each revision with the one before it, the first with `base`."""
    never_opened = Database(sqlite_url(Path("farm.sqlite3")))
    scripts = ScriptDirectory.from_config(migration_config(never_opened))
    walked = reversed(list(scripts.walk_revisions()))
    return [(str(each.down_revision or "base"), each.revision) for each in walked]


def go_to(database: Database, revision: str, *, up: bool) -> None:
    (command.upgrade if up else command.downgrade)(migration_config(database), revision)


def fill_empty_tables(database: Database) -> None:
    """One row in each table that has none, with everything in it that may be there."""
    with _opened(database) as connection:
        made: dict[str, dict[str, Any]] = {}
        for table in _tables(connection).sorted_tables:
            present = connection.execute(select(table).limit(1)).mappings().one_or_none()
            if present is not None:
                made[table.name] = dict(present)
                continue
            made[table.name] = {
                column.name: _value(column, made) for column in table.columns if column.computed is None
            }
            connection.execute(insert(table).values(made[table.name]))


def read_rows(database: Database) -> Rows:
    with _opened(database) as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in _tables(connection).sorted_tables
        }


def lost(before: Rows, after: Rows) -> list[str]:
    """What of `before` is gone or different in `after`, among the tables and columns that both have."""
    found = []
    for name, rows in before.items():
        if name not in after:
            found += [] if name in GIVEN_UP else [name]
            continue
        if name in GIVEN_UP:
            continue
        for old, new in zip(rows, after[name], strict=True):
            found += [f"{name}.{key}" for key in old.keys() & new.keys() if old[key] != new[key]]
    return found


def shape(database: Database) -> dict[str, Any]:
    """Everything of the schema that a migration can change."""
    inspector = inspect(database.engine)
    return {
        name: (
            sorted(
                (each["name"], repr(each["type"]), each["nullable"], each["default"])
                for each in inspector.get_columns(name)
            ),
            sorted(_described(each) for each in inspector.get_indexes(name)),
            sorted(_described(each) for each in inspector.get_foreign_keys(name)),
            sorted(_described(each) for each in inspector.get_unique_constraints(name)),
            sorted(_described(each) for each in inspector.get_check_constraints(name)),
            repr(inspector.get_pk_constraint(name)),
        )
        for name in inspector.get_table_names()
        if name != REVISIONS_TABLE
    }


def _described(part: Mapping[str, Any]) -> str:
    """A clause has no text of its own but its address in memory."""
    options = {name: str(value) for name, value in part.get("dialect_options", {}).items()}
    return repr(sorted({**part, "dialect_options": options}.items()))


def count_rows(database: Database) -> int:
    with _opened(database) as connection:
        tables = _tables(connection).sorted_tables
        return sum(connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables)


@contextmanager
def _opened(database: Database) -> Iterator[Connection]:
    with database.engine.begin() as connection:
        see_everything(connection)
        yield connection


def _tables(connection: Connection) -> MetaData:
    found = MetaData()
    found.reflect(connection, only=lambda name, _: name != REVISIONS_TABLE)
    return found


def _value(column: Column[Any], made: dict[str, dict[str, Any]]) -> Any:
    for key in column.foreign_keys:
        parent: Table = key.column.table
        if parent.name in made:
            return made[parent.name][key.column.name]
        return None  # the row itself, or a cycle
    match column.type:
        case types.Boolean():
            return True
        case types.Integer():
            return 7
        case types.Float() | types.Numeric():
            return 7.5
        case types.DateTime():
            return _MOMENT if column.type.timezone else _MOMENT.replace(tzinfo=None)
        case types.Date():
            return _MOMENT.date()
        case types.JSON():
            return {"key": ["value"]}
        case types.LargeBinary():
            return b"\x00\xff"
        case types.String():
            return column.name[: column.type.length or 100]
        case other:
            raise TypeError(f"{column.table.name}.{column.name}: no value of {other!r} is known")
