"""Backtests and their reports.

Revision: 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db import row_security
from control_plane.db.types import UtcDateTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "backtests",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("strategy", sa.String(length=64), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("timeframe", sa.String(length=8), nullable=False),
        sa.Column("bars", sa.Integer(), nullable=False),
        sa.Column("volume", sa.Double(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("ranges", sa.JSON(), nullable=False),
        sa.Column("objective", sa.String(length=32), nullable=False),
        sa.Column("walk_steps", sa.Integer(), nullable=False),
        sa.Column("cancel_asked_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("problem", sa.String(length=300), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("alive_until", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_backtests_tenant_id"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_backtests_account_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_backtests_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_backtests"),
    )
    op.create_index("ix_backtests_account_id_backtests_id", "backtests", ["account_id", "id"])
    op.create_index("ix_backtests_state_backtests_alive_until", "backtests", ["state", "alive_until"])
    op.create_table(
        "backtest_reports",
        sa.Column("backtest_id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_backtest_reports_tenant_id"),
        sa.ForeignKeyConstraint(["backtest_id"], ["backtests.id"], name="fk_backtest_reports_backtest_id"),
        sa.PrimaryKeyConstraint("backtest_id", name="pk_backtest_reports"),
    )
    if op.get_bind().dialect.name == "postgresql":
        row_security.protect(op.get_bind())


def downgrade() -> None:
    op.drop_table("backtest_reports")
    op.drop_table("backtests")
