"""Runs migrations on the database that `control_plane.db.migrate` hands over."""

from __future__ import annotations

from alembic import context

from control_plane.db.engine import Database
from control_plane.db.tables import METADATA

database: Database = context.config.attributes["database"]
with database.engine.connect() as connection:
    context.configure(connection=connection, target_metadata=METADATA, render_as_batch=database.is_sqlite)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
