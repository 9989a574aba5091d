"""What a farm must wait for when its database is older than the world.

Revision: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("nodes", sa.Column("awaited", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("assignments", sa.Column("unproven", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("assignments", "unproven")
    op.drop_column("nodes", "awaited")
