"""Postgres keeps the tenants apart. Nothing changes on SQLite, whose file has one user.

Revision: 0005
"""

from __future__ import annotations

from alembic import op

from control_plane.db import row_security

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        row_security.protect(op.get_bind())


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        row_security.unprotect(op.get_bind())
