"""Rows that are written past the unit of work, which would cost more than all the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic_core import to_json
from sqlalchemy import (
    JSON,
    Dialect,
    Insert,
    Table,
    Text,
    Update,
    bindparam,
    cast,
    column,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, class_mapper
from sqlalchemy.sql.dml import ReturningInsert

from control_plane.db.base import Base, TenantRow
from control_plane.db.prepared import execute_prepared
from control_plane.db.tenancy import Statements, check_own

_KEY = "mt5farm_key"


def insert_row(session: Session | Statements, row: Base) -> None:
    """Insert a new object at once; the session does not hold it, so that later changes of it are not written.

    Raises IntegrityError, and ForeignRowError for another tenant's.
    """
    if isinstance(row, TenantRow):
        check_own(session, type(row), {row.tenant_id})
    statement, names = _insert_of(type(row))
    execute_prepared(session, statement, {column: getattr(row, name) for name, column in names})


def insert_if_missing(session: Session | Statements, row: Base) -> None:
    """The same unless its key is taken; then nothing happens."""
    if isinstance(row, TenantRow):
        check_own(session, type(row), {row.tenant_id})
    connection = session.connection()
    insert_into = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    values = {column: getattr(row, name) for name, column in _insert_of(type(row))[1]}
    connection.execute(insert_into(type(row)).values(values).on_conflict_do_nothing())


@lru_cache
def _insert_of(model: type[Base]) -> tuple[Insert, tuple[tuple[str, str], ...]]:
    """The statement, and pairs of an attribute and the name of its column."""
    attributes, table = class_mapper(model).column_attrs, model.__table__
    assert isinstance(table, Table)
    return insert(table), tuple((each.key, each.columns[0].name) for each in attributes)


def update_row(session: Session | Statements, model: type[Base], key: str, values: Mapping[str, Any]) -> None:
    """Change columns of a row that this transaction holds, by the model's only key. An object of it does not notice."""
    execute_prepared(session, _update_of(model), {**values, _KEY: key})


@lru_cache
def _update_of(model: type[Base]) -> Update:
    table = model.__table__
    assert isinstance(table, Table)
    (key,) = table.primary_key
    return update(table).where(key == bindparam(_KEY))


def put_rows(session: Session, model: type[Base], rows: Sequence[dict[str, Any]], *, keep: bool = False) -> list[Any]:
    """Insert `rows`, all with the same columns; what has the same primary key is overwritten, or kept with `keep`.

    Returns the keys (the first column of each) of those that were written. Objects of `model` that the session holds
    already do not notice. Raises ForeignRowError for another tenant's.
    """
    if not rows:
        return []
    if issubclass(model, TenantRow):
        check_own(session, model, {row["tenant_id"] for row in rows})
    table = model.__table__
    assert isinstance(table, Table)
    connection = session.connection()
    names = tuple(rows[0])
    if connection.dialect.name != "postgresql":
        # Asked to return something, the database is sent all rows at once instead of one by one.
        return list(connection.scalars(_upsert(sqlite.insert(table), table, names, keep=keep), list(rows)))
    packed = {"rows": _packed(table, names, rows, connection.dialect)}
    return list(connection.scalars(_from_json(table, names, keep=keep), packed))


def _upsert(
    statement: postgresql.Insert | sqlite.Insert, table: Table, names: Sequence[str], *, keep: bool
) -> ReturningInsert[Any]:
    key = [each.name for each in table.primary_key]
    if keep:
        statement = statement.on_conflict_do_nothing(index_elements=key)
    else:
        others = {name: statement.excluded[name] for name in names if name not in key}
        statement = statement.on_conflict_do_update(index_elements=key, set_=others)
    return statement.returning(table.c[key[0]])


@lru_cache(100)
def _from_json(table: Table, names: tuple[str, ...], *, keep: bool) -> ReturningInsert[Any]:
    """All rows as one text: a parameter for each value costs more than writing the rows."""
    source = func.json_to_recordset(cast(bindparam("rows", type_=Text()), JSON))
    columns = (column(name, table.c[name].type) for name in names)
    rows = source.table_valued(*columns).render_derived(name="rows", with_types=True)
    statement = postgresql.insert(table).from_select(list(names), select(*rows.c))
    return _upsert(statement, table, names, keep=keep)


def _packed(table: Table, names: Sequence[str], rows: Sequence[dict[str, Any]], dialect: Dialect) -> str:
    """The rows as JSON. Numbers that are none are written as such, which Postgres refuses as no JSON."""
    processors = {}
    for name in names:
        kind = table.c[name].type
        processor = None if isinstance(kind, JSON) else kind.dialect_impl(dialect).bind_processor(dialect)
        if processor is not None:
            processors[name] = processor
    bound = [row | {name: processor(row[name]) for name, processor in processors.items()} for row in rows]
    return to_json(bound, inf_nan_mode="constants").decode()
