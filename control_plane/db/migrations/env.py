"""Runs migrations on the database that `control_plane.db.migrate` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

from control_plane.db.engine import Database
from control_plane.db.tables import METADATA
from control_plane.db.tenancy import SET_SCOPE

_LOCK = 5_077_001

database: Database = context.config.attributes["database"]
with database.engine.connect() as connection:
    context.configure(connection=connection, target_metadata=METADATA, render_as_batch=database.is_sqlite)
    with context.begin_transaction():
        if not database.is_sqlite:
            # Machines take turns; and row-level security binds the owner of the tables as well.
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            connection.execute(SET_SCOPE, {"tenant": "", "system": "on"})
        context.run_migrations()
    connection.commit()
