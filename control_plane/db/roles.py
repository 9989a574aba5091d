"""Makes the two roles of a Postgres database, and the database itself, with an administrator's rights."""

from __future__ import annotations

import psycopg2
from psycopg2 import sql
from sqlalchemy import URL, make_url

from control_plane.errors import ConfigurationError


def make_database(administrator_url: str, owner_url: str, application_url: str) -> None:
    """Leaves what is there, but for passwords, which become those of the addresses. Raises ConfigurationError."""
    owner, application = make_url(owner_url), make_url(application_url)
    if not owner.database or owner.database != application.database:
        raise ConfigurationError("the addresses of the owner and of the application must name one database")
    try:
        connection = psycopg2.connect(administrator_url)
    except psycopg2.Error as error:
        raise ConfigurationError("the administrator cannot connect to Postgres") from error
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for address in (owner, application):
                _make_role(cursor, address)
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (owner.database,))
            if cursor.fetchone() is None:
                create = sql.SQL("CREATE DATABASE {} OWNER {}")
                cursor.execute(create.format(sql.Identifier(owner.database), sql.Identifier(owner.username or "")))
    except psycopg2.Error as error:
        raise ConfigurationError(f"the roles cannot be made: {type(error).__name__}") from error
    finally:
        connection.close()


def _make_role(cursor: psycopg2.extensions.cursor, address: URL) -> None:
    if not address.username:
        raise ConfigurationError("the address of the database names no role")
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (address.username,))
    verb = "CREATE" if cursor.fetchone() is None else "ALTER"
    statement = sql.SQL(f"{verb} ROLE {{}} LOGIN PASSWORD {{}}")
    cursor.execute(statement.format(sql.Identifier(address.username), sql.Literal(address.password or None)))
