"""Statements on tables instead of models, for what is asked with every order.

To go through models and the unit of work takes several times longer than the database itself does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import BinaryExpression, Column, ColumnElement, Executable, Table, bindparam
from sqlalchemy.orm import Session, class_mapper
from sqlalchemy.sql import visitors

from control_plane.assignments.model import Assignment
from control_plane.db.base import Base
from control_plane.db.prepared import Done, execute_prepared
from control_plane.db.tenancy import ForeignRowError, Statements, tenant_of
from control_plane.fleet.model import Node

_TENANT = "of_tenant"
_MOST_CHECKED = 256


def table_of(model: type[Base]) -> Table:
    table = class_mapper(model).local_table
    assert isinstance(table, Table)
    return table


def is_own(table: Table) -> ColumnElement[bool]:
    """The condition that `execute_for` demands: rows of the tenant that it is told."""
    return table.c.tenant_id == bindparam(_TENANT)


def execute_for(
    session: Session | Statements, tenant_id: str, statement: Executable, values: Mapping[str, Any]
) -> Done:
    """Run a statement that touches rows of this tenant only. Objects that the session holds do not notice.

    The filter of `tenancy` meets models, so that here `is_own` has to stand for each table; nodes are those that hold
    an assignment of the tenant. Raises ForeignRowError for a statement without that, and when the transaction works
    for another tenant.
    """
    unbound = _unbound(statement)
    if unbound:
        raise ForeignRowError(f"a statement past the models that does not ask whose rows of {unbound} it may touch")
    if tenant_of(session) not in {None, tenant_id}:
        raise ForeignRowError("a statement past the models for another tenant")
    return execute_prepared(session, statement, {**values, _TENANT: tenant_id})


def execute_as_farm(session: Session | Statements, statement: Executable, values: Mapping[str, Any]) -> Done:
    """Run a statement of the farm itself, which sees the rows of all tenants.

    Raises ForeignRowError when the transaction works for a tenant.
    """
    if tenant_of(session) is not None:
        raise ForeignRowError("a statement of the farm itself in a transaction for a tenant")
    return execute_prepared(session, statement, values)


@lru_cache(_MOST_CHECKED)
def _unbound(statement: Any) -> str:
    """The tables that it may touch whoever owns the rows; empty for none."""
    parts = list(visitors.iterate(statement))
    bound = {each.left.table for each in parts if isinstance(each, BinaryExpression) and _is_condition(each)}
    tables = {each for each in parts if isinstance(each, Table)}
    if table_of(Assignment) in bound:
        tables.discard(table_of(Node))
    return ", ".join(sorted(each.name for each in tables - bound))


def _is_condition(part: BinaryExpression[Any]) -> bool:
    left, right = part.left, part.right
    return isinstance(left, Column) and left.name == "tenant_id" and getattr(right, "key", "") == _TENANT
