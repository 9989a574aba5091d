"""Limits of accounts, what their guards report, and kill switches.

Revision: 0020
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db import row_security
from control_plane.db.types import UtcDateTime

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def _tenant(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=f"fk_{table}_tenant_id"),
    ]


def _account(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=f"fk_{table}_account_id"),
    ]


def upgrade() -> None:
    op.create_table(
        "account_limits",
        *_account("account_limits"),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("rearm_id", sa.String(length=40), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        *_tenant("account_limits"),
        sa.PrimaryKeyConstraint("account_id", name="pk_account_limits"),
    )
    op.create_table(
        "limit_defaults",
        *_tenant("limit_defaults"),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_limit_defaults"),
    )
    op.create_table(
        "guard_observations",
        *_account("guard_observations"),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("reported_at", UtcDateTime(), nullable=False),
        *_tenant("guard_observations"),
        sa.PrimaryKeyConstraint("account_id", name="pk_guard_observations"),
    )
    op.create_table(
        "kill_switches",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=250), nullable=False),
        sa.Column("thrown_by", sa.String(length=254), nullable=False),
        sa.Column("thrown_at", UtcDateTime(), nullable=False),
        sa.Column("spread_at", UtcDateTime(), nullable=True),
        sa.Column("released_by", sa.String(length=254), nullable=False),
        sa.Column("released_at", UtcDateTime(), nullable=True),
        *_tenant("kill_switches"),
        sa.PrimaryKeyConstraint("id", name="pk_kill_switches"),
    )
    op.create_index("ix_kill_switches_released_at", "kill_switches", ["released_at"])
    op.create_table(
        "kill_targets",
        sa.Column("kill_id", sa.String(length=40), nullable=False),
        *_account("kill_targets"),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("positions", sa.Integer(), nullable=True),
        sa.Column("orders", sa.Integer(), nullable=True),
        sa.Column("note", sa.String(length=300), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=True),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        *_tenant("kill_targets"),
        sa.ForeignKeyConstraint(["kill_id"], ["kill_switches.id"], name="fk_kill_targets_kill_id"),
        sa.PrimaryKeyConstraint("kill_id", "account_id", name="pk_kill_targets"),
    )
    if op.get_bind().dialect.name == "postgresql":
        row_security.protect(op.get_bind())


def downgrade() -> None:
    op.drop_table("kill_targets")
    op.drop_table("kill_switches")
    op.drop_table("guard_observations")
    op.drop_table("limit_defaults")
    op.drop_table("account_limits")
