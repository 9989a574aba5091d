"""Strategies that users bring, bots on paper, and the history of bots' settings.

Revision: 0022
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db import row_security
from control_plane.db.types import UtcDateTime

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A fixed value for the rows that are there: Postgres writes none of them anew for it.
    op.add_column("bots", sa.Column("paper", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "custom_strategies",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_custom_strategies_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_custom_strategies_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_custom_strategies"),
    )
    op.create_index("ix_custom_strategies_user_id", "custom_strategies", ["user_id"])
    op.create_table(
        "strategy_versions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("strategy_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("entry", sa.String(length=120), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("description", sa.String(length=500), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("notes", sa.String(length=1000), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_strategy_versions_tenant_id"),
        sa.ForeignKeyConstraint(["strategy_id"], ["custom_strategies.id"], name="fk_strategy_versions_strategy_id"),
        sa.PrimaryKeyConstraint("id", name="pk_strategy_versions"),
        sa.UniqueConstraint("strategy_id", "number", name="uq_strategy_versions_strategy_id_number"),
    )
    op.create_index("ix_strategy_versions_sha256", "strategy_versions", ["sha256"])
    op.create_table(
        "bot_changes",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("bot_id", sa.String(length=40), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(length=40), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_bot_changes_tenant_id"),
        sa.ForeignKeyConstraint(["bot_id"], ["bots.id"], name="fk_bot_changes_bot_id"),
        sa.PrimaryKeyConstraint("id", name="pk_bot_changes"),
    )
    op.create_index("ix_bot_changes_bot_id_bot_changes_at", "bot_changes", ["bot_id", "at"])
    if op.get_bind().dialect.name == "postgresql":
        row_security.protect(op.get_bind())


def downgrade() -> None:
    op.drop_table("bot_changes")
    op.drop_table("strategy_versions")
    op.drop_table("custom_strategies")
    op.drop_column("bots", "paper")
