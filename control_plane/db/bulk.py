"""Many rows in one statement, where a unit of work of one object each would cost more than all the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from control_plane.db.base import Base, TenantRow
from control_plane.db.tenancy import check_own


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
    insert = postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
    key = [column.name for column in table.primary_key]
    if keep:
        statement = insert.on_conflict_do_nothing(index_elements=key)
    else:
        others = {name: insert.excluded[name] for name in rows[0] if name not in key}
        statement = insert.on_conflict_do_update(index_elements=key, set_=others)
    # Asked to return something, the database is sent all rows at once instead of one by one.
    return list(connection.scalars(statement.returning(table.c[key[0]]), list(rows)))
