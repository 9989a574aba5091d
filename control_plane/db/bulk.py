"""Rows that are written past the unit of work, which would cost more than all the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Insert, Table, Update, bindparam, insert, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, class_mapper

from control_plane.db.base import Base, TenantRow
from control_plane.db.tenancy import check_own

_KEY = "mt5farm_key"


def insert_row(session: Session, row: Base) -> None:
    """Insert a new object at once; the session does not hold it, so that later changes of it are not written.

    Raises IntegrityError, and ForeignRowError for another tenant's.
    """
    if isinstance(row, TenantRow):
        check_own(session, type(row), {row.tenant_id})
    statement, names = _insert_of(type(row))
    session.connection().execute(statement, {column: getattr(row, name) for name, column in names})


@lru_cache
def _insert_of(model: type[Base]) -> tuple[Insert, tuple[tuple[str, str], ...]]:
    """The statement, and pairs of an attribute and the name of its column."""
    attributes, table = class_mapper(model).column_attrs, model.__table__
    assert isinstance(table, Table)
    return insert(table), tuple((each.key, each.columns[0].name) for each in attributes)


def update_row(session: Session, model: type[Base], key: str, values: Mapping[str, Any]) -> None:
    """Change columns of a row that this transaction holds, by the model's only key. An object of it does not notice."""
    session.connection().execute(_update_of(model), {**values, _KEY: key})


@lru_cache
def _update_of(model: type[Base]) -> Update:
    table = model.__table__
    assert isinstance(table, Table)
    (column,) = table.primary_key
    return update(table).where(column == bindparam(_KEY))


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
    upsert = postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
    key = [column.name for column in table.primary_key]
    if keep:
        statement = upsert.on_conflict_do_nothing(index_elements=key)
    else:
        others = {name: upsert.excluded[name] for name in rows[0] if name not in key}
        statement = upsert.on_conflict_do_update(index_elements=key, set_=others)
    # Asked to return something, the database is sent all rows at once instead of one by one.
    return list(connection.scalars(statement.returning(table.c[key[0]]), list(rows)))
