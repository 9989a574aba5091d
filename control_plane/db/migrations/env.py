"""Runs migrations on the database that `control_plane.db.migrate` hands over."""

from __future__ import annotations

from alembic import context

from control_plane.db.engine import Database
from control_plane.db.migrate import LOCK_SECONDS
from control_plane.db.tables import METADATA

database: Database = context.config.attributes["database"]
lock_seconds: float = context.config.attributes.get("lock_seconds", LOCK_SECONDS)
with database.engine.connect() as connection:
    if not database.is_sqlite:
        connection.exec_driver_sql(f"SET lock_timeout = {int(lock_seconds * 1000)}")
        connection.commit()
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
    if not database.is_sqlite:
        connection.exec_driver_sql("RESET lock_timeout")
        connection.commit()
