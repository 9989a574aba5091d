"""Whose rows a transaction may touch: one tenant's, or everybody's as the farm itself.

Held twice: here, in every query that goes through the models, and by Postgres (`row_security`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, event, exists, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction, aliased, with_loader_criteria
from sqlalchemy.sql.base import ExecutableOption

from control_plane.assignments.model import Assignment
from control_plane.db.base import TenantRow
from control_plane.fleet.model import Node
from control_plane.identity.model import Tenant

TENANT_SETTING = "mt5farm.tenant"
SYSTEM_SETTING = "mt5farm.system"
SET_SCOPE = text(f"SELECT set_config('{TENANT_SETTING}', :tenant, true), set_config('{SYSTEM_SETTING}', :system, true)")
"""Tells Postgres for whom the rest of the transaction works."""
_TENANT = "mt5farm_tenant"
_LASTING = "mt5farm_lasting"
_MOST_REMEMBERED = 1024
_Statement = TypeVar("_Statement", bound=Executable)


class ForeignRowError(Exception):
    """Code tried to write a row of another tenant. Always a mistake of the farm, never of a caller."""


class ScopedSession(Session):
    """One transaction in the name of a tenant or, with None, of the farm itself."""

    def __init__(self, engine: Engine, tenant_id: str | None) -> None:
        super().__init__(engine, expire_on_commit=False, info={_TENANT: tenant_id})


class Statements:
    """One transaction of the same kind that knows no models: for `execute_for`, `execute_prepared`, and single rows."""

    def __init__(self, connection: Connection, tenant_id: str | None) -> None:
        self.info: dict[Any, Any] = {_TENANT: tenant_id}
        self._connection = connection
        _tell_database(connection, tenant_id)

    def connection(self) -> Connection:
        return self._connection


def tenant_of(session: Session | Statements) -> str | None:
    """In whose name the transaction works; None for the farm itself."""
    tenant_id: str | None = session.info[_TENANT]
    return tenant_id


@contextmanager
def as_system(session: Session) -> Iterator[None]:
    """What is done inside, in the middle of a tenant's transaction, may see and change the rows of all tenants.

    For what the farm has to know or count to grant a tenant's wish; nothing of it may be shown.
    """
    tenant_id = session.info[_TENANT]
    if tenant_id is None:
        yield
        return
    session.flush()
    _enter(session, None)
    try:
        yield
        session.flush()
    finally:
        # A transaction that a failed statement has spoilt takes no other one either.
        with suppress(DBAPIError):
            _enter(session, tenant_id)


def _enter(session: Session, tenant_id: str | None) -> None:
    session.info[_TENANT] = tenant_id
    if session.in_transaction():
        _tell_database(session.connection(), tenant_id)


def _tell_database(connection: Connection, tenant_id: str | None) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(SET_SCOPE, {"tenant": tenant_id or "", "system": "on" if tenant_id is None else "off"})


@event.listens_for(ScopedSession, "after_begin")
def _begin(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    _tell_database(connection, session.info[_TENANT])


@event.listens_for(ScopedSession, "do_orm_execute")
def _only_own_rows(state: ORMExecuteState) -> None:
    tenant_id: str | None = state.session.info[_TENANT]
    if tenant_id is not None and not state.is_column_load and not state.is_relationship_load and not state.is_insert:
        lasts = state.statement.get_execution_options().get(_LASTING, False)
        state.statement = _lasting_scoped(state.statement, tenant_id) if lasts else _scoped(state.statement, tenant_id)


def lasting(statement: _Statement) -> _Statement:
    """A statement that is made once, with parameters, for queries that are asked very often.

    What such a query costs is mostly to make it and to find out whether it was compiled before.
    """
    return statement.execution_options(**{_LASTING: True})


def _scoped(statement: Executable, tenant_id: str) -> Executable:
    return statement.options(*_criteria(tenant_id))


_lasting_scoped = lru_cache(_MOST_REMEMBERED)(_scoped)


@event.listens_for(ScopedSession, "before_flush")
def _write_only_own_rows(session: Session, _context: Any, _instances: Any) -> None:
    tenant_id = session.info[_TENANT]
    if tenant_id is None:
        return
    for row in (*session.new, *session.dirty, *session.deleted):
        if isinstance(row, TenantRow) and row.tenant_id != tenant_id:
            raise ForeignRowError(f"{type(row).__name__} of another tenant")


def check_own(session: Session | Statements, model: type[object], tenant_ids: Collection[str]) -> None:
    """For rows that are written past the unit of work. Raises ForeignRowError."""
    tenant_id = session.info[_TENANT]
    if tenant_id is not None and any(each != tenant_id for each in tenant_ids):
        raise ForeignRowError(f"{model.__name__} of another tenant")


@lru_cache(_MOST_REMEMBERED)
def _criteria(tenant_id: str) -> tuple[ExecutableOption, ...]:
    """Remembered, for to make them takes longer than most queries: three quarters of a millisecond."""
    held = aliased(Assignment)  # a name of its own: most queries for nodes join assignments as well
    hosts_own = exists().where(held.node_id == Node.id, held.tenant_id == tenant_id)
    return (
        with_loader_criteria(TenantRow, lambda cls: cls.tenant_id == tenant_id, include_aliases=True),
        # Nodes are the operator's; a tenant sees those that hold or held something of its own.
        with_loader_criteria(Node, (Node.tenant_id == tenant_id) | hosts_own, include_aliases=True),
        with_loader_criteria(Tenant, Tenant.id == tenant_id, include_aliases=True),
    )
