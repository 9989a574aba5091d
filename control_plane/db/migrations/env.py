"""Runs migrations on the database that `control_plane.db.migrate` hands over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from sqlalchemy import Connection

from control_plane.db.engine import Database
from control_plane.db.migrate import LOCK_SECONDS
from control_plane.db.tables import METADATA
from control_plane.db.tenancy import SYSTEM_SETTING

database: Database = context.config.attributes["database"]
lock_seconds: float = context.config.attributes.get("lock_seconds", LOCK_SECONDS)


@contextmanager
def prepared(connection: Connection) -> Iterator[None]:
    """On Postgres: nobody waits long for a table, and row-level security, which binds its owner too, shows all rows."""
    if database.is_sqlite:
        yield
        return
    connection.exec_driver_sql(f"SET lock_timeout = {int(lock_seconds * 1000)}")
    connection.exec_driver_sql(f"SET {SYSTEM_SETTING} = 'on'")
    connection.commit()
    try:
        yield
    except BaseException:
        connection.invalidate()  # it would go back to the pool with these settings
        raise
    connection.exec_driver_sql("RESET lock_timeout")
    connection.exec_driver_sql(f"RESET {SYSTEM_SETTING}")
    connection.commit()


with database.engine.connect() as connection, prepared(connection):
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        render_as_batch=database.is_sqlite,
        # What one revision locks is free again before the next, and one may make indexes CONCURRENTLY.
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
