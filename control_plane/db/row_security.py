"""Postgres keeps the tenants apart by itself: row-level security on every table, forced, for a role that owns none.

`tenancy` says for whom a transaction works. Without that a transaction sees no rows at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, inspect, text

from control_plane.db.tenancy import SYSTEM_SETTING, TENANT_SETTING

VERSION_TABLE = "alembic_version"
APPEND_ONLY = frozenset({"audit_entries", "deal_corrections", "deals"})
"""The application may add to these, and neither change nor delete."""

_TENANT = f"(SELECT current_setting('{TENANT_SETTING}', true))"
_SYSTEM = f"(SELECT current_setting('{SYSTEM_SETTING}', true)) = 'on'"
_SYSTEM_ROWS = ("system_rows", "ALL", _SYSTEM)
_TENANT_ROWS = ("tenant_rows", "ALL", f"tenant_id = {_TENANT}")
_SPECIAL: dict[str, tuple[tuple[str, str, str], ...]] = {
    "tenants": (("tenant_rows", "SELECT", f"id = {_TENANT}"),),
    "broker_servers": (("directory", "SELECT", "true"),),
    # What a tenant's wish sets off is put down with the wish. Only the farm reads it.
    "jobs": (("wishes", "INSERT", "true"),),
    # The policies of assignments hold inside as well, so these are the tenant's own.
    "nodes": (_TENANT_ROWS, ("hosts", "SELECT", "EXISTS (SELECT 1 FROM assignments a WHERE a.node_id = nodes.id)")),
}


def protect(connection: Connection) -> None:
    """Bring the policies of every table up to date, by its columns. A table without tenants is for the farm alone.

    To be called by every migration that makes a table.
    """
    for table in tables(connection):
        quoted = _quoted(connection, table)
        connection.execute(text(f"ALTER TABLE {quoted} ENABLE ROW LEVEL SECURITY"))
        connection.execute(text(f"ALTER TABLE {quoted} FORCE ROW LEVEL SECURITY"))
        _drop_policies(connection, table)
        for name, command, rule in (_SYSTEM_ROWS, *_rules(connection, table)):
            clause = f"WITH CHECK ({rule})" if command == "INSERT" else f"USING ({rule})"
            connection.execute(text(f"CREATE POLICY {name} ON {quoted} FOR {command} {clause}"))


def unprotect(connection: Connection) -> None:
    for table in tables(connection):
        quoted = _quoted(connection, table)
        _drop_policies(connection, table)
        connection.execute(text(f"ALTER TABLE {quoted} NO FORCE ROW LEVEL SECURITY"))
        connection.execute(text(f"ALTER TABLE {quoted} DISABLE ROW LEVEL SECURITY"))


def grant(connection: Connection, role: str) -> None:
    """Let the role of the application work with the rows, and with nothing else."""
    quoted = _quoted(connection, role)
    connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {quoted}"))
    connection.execute(text(f"GRANT SELECT ON {VERSION_TABLE} TO {quoted}"))
    for table in tables(connection):
        rights = "SELECT, INSERT" if table in APPEND_ONLY else "SELECT, INSERT, UPDATE, DELETE"
        connection.execute(text(f"GRANT {rights} ON {_quoted(connection, table)} TO {quoted}"))


def weaknesses(connection: Connection) -> list[str]:
    """Why this connection's role is not bound by the policies; empty when it is."""
    found = []
    if connection.scalar(text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")):
        found.append("its role passes over row-level security")
    owned = connection.scalar(text(f"SELECT count(*) {_FARM_TABLES} AND pg_has_role(c.relowner, 'MEMBER')"))
    if owned:
        found.append("its role owns tables")
    bare = f"SELECT c.relname {_FARM_TABLES} AND NOT (c.relrowsecurity AND c.relforcerowsecurity) ORDER BY 1"
    unprotected = list(connection.scalars(text(bare)))
    if unprotected:
        found.append(f"not every table is protected: {', '.join(unprotected)}")
    return found


_FARM_TABLES = (
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    f"WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND c.relname <> '{VERSION_TABLE}'"
)


def tables(connection: Connection) -> list[str]:
    """All tables of the farm that the database has."""
    return sorted(name for name in inspect(connection).get_table_names() if name != VERSION_TABLE)


def _rules(connection: Connection, table: str) -> Sequence[tuple[str, str, str]]:
    special = _SPECIAL.get(table)
    if special is not None:
        return special
    columns = {column["name"] for column in inspect(connection).get_columns(table)}
    return (_TENANT_ROWS,) if "tenant_id" in columns else ()


def _drop_policies(connection: Connection, table: str) -> None:
    names = connection.scalars(
        text("SELECT polname FROM pg_policy WHERE polrelid = to_regclass(:name)"),
        {"name": _quoted(connection, table)},
    )
    for name in list(names):
        connection.execute(text(f"DROP POLICY {_quoted(connection, name)} ON {_quoted(connection, table)}"))


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)
