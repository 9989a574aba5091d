"""Statements that were put into words once, and go to the driver as they are.

What the library does around each statement costs several times what a database beside it does for a small one. Only
for statements that last, whose parameters are plain: no lists, nothing that depends on the values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Dialect
from sqlalchemy.engine import Compiled
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from control_plane.db.tenancy import Statements

_Processor = Callable[[Any], Any]


class Done(NamedTuple):
    """What a statement gave, and how many rows it changed."""

    rows: list[tuple[Any, ...]]
    touched: int

    def first(self) -> tuple[Any, ...] | None:
        return self.rows[0] if self.rows else None


class _Prepared:
    """One statement for one kind of database."""

    def __init__(self, statement: Any, dialect: Dialect, names: Sequence[str]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(names) or None)
        self.text = str(compiled)
        self._in_order = compiled.positiontup
        """Names of the parameters where the database counts them."""
        self._values = {name: each.effective_value for name, each in compiled.binds.items() if not each.required}
        self._to_database = _processors(
            {name: each.type.dialect_impl(dialect).bind_processor(dialect) for name, each in compiled.binds.items()}
        )
        self.returns_rows = statement.is_select
        self._from_database = _processors(dict(enumerate(_readers(compiled, dialect)))) if self.returns_rows else {}

    def parameters(self, values: Mapping[str, Any]) -> Any:
        bound = {**self._values, **values}
        for name, processor in self._to_database.items():
            bound[name] = processor(bound[name])
        return bound if self._in_order is None else [bound[name] for name in self._in_order]

    def read(self, rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        if not self._from_database:
            return [tuple(row) for row in rows]
        found = []
        for row in rows:
            fields = list(row)
            for place, processor in self._from_database.items():
                fields[place] = processor(fields[place])
            found.append(tuple(fields))
        return found


_known: dict[tuple[Any, str, tuple[str, ...]], _Prepared] = {}
"""By statement, kind of database and names of the values. As many as the farm has such statements."""


def execute_prepared(session: Session | Statements, statement: Any, values: Mapping[str, Any]) -> Done:
    """Objects that the session holds do not notice; who listens to the engine's statements hears them.

    Raises what the library raises for errors of the database.
    """
    connection = session.connection()
    dialect = connection.dialect
    key = (statement, dialect.name, () if statement.is_select else tuple(values))
    prepared = _known.get(key)
    if prepared is None:
        prepared = _known[key] = _Prepared(statement, dialect, key[2])
    cursor = connection.connection.cursor()
    parameters = prepared.parameters(values)
    for hear in connection.dispatch.before_cursor_execute:
        hear(connection, cursor, prepared.text, parameters, None, False)
    try:
        cursor.execute(prepared.text, parameters)
        return Done(prepared.read(cursor.fetchall()) if prepared.returns_rows else [], cursor.rowcount)
    except dialect.loaded_dbapi.Error as error:
        told = partial(DBAPIError.instance, prepared.text, None, error, dialect.loaded_dbapi.Error)
        raise told(hide_parameters=True, dialect=dialect) from error
    finally:
        cursor.close()


def _readers(compiled: Compiled, dialect: Dialect) -> list[_Processor | None]:
    columns = compiled.statement.selected_columns  # type: ignore[union-attr]  # of what returns rows
    return [each.type.dialect_impl(dialect).result_processor(dialect, None) for each in columns]


def _processors(found: dict[Any, _Processor | None]) -> dict[Any, _Processor]:
    return {key: processor for key, processor in found.items() if processor is not None}
