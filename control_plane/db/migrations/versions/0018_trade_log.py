"""The whole book of an account: corrections of deals, orders of the history, positions, and its reconciliation.

Revision: 0018
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from control_plane.db import row_security
from control_plane.db.types import UtcDateTime

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deal_corrections",
        *_owner("deal_corrections"),
        sa.Column("ticket", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("observed_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "ticket", "number", name="pk_deal_corrections"),
    )
    op.create_table(
        "history_orders",
        *_owner("history_orders"),
        sa.Column("ticket", sa.BigInteger(), nullable=False),
        sa.Column("time_setup_msc", sa.BigInteger(), nullable=False),
        sa.Column("time_done_msc", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Integer(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("magic", sa.BigInteger(), nullable=False),
        sa.Column("position_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Integer(), nullable=False),
        sa.Column("volume_initial", sa.Double(), nullable=False),
        sa.Column("volume_current", sa.Double(), nullable=False),
        sa.Column("price_open", sa.Double(), nullable=False),
        sa.Column("sl", sa.Double(), nullable=False),
        sa.Column("tp", sa.Double(), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("comment", sa.String(length=128), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "ticket", name="pk_history_orders"),
    )
    op.create_index(
        "ix_history_orders_timeline",
        "history_orders",
        ["account_id", "time_done_msc", "ticket"],
    )
    op.create_table(
        "position_sights",
        *_owner("position_sights"),
        sa.Column("positions", sa.JSON(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_position_sights"),
    )
    op.create_table(
        "reconciliations",
        *_owner("reconciliations"),
        sa.Column("requested_at", UtcDateTime(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("looked_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("look_again_at", UtcDateTime(), nullable=True),
        sa.Column("suspects", sa.JSON(), nullable=False),
        sa.Column("problem", sa.String(length=300), nullable=False),
        sa.Column("deals", sa.Integer(), nullable=False),
        sa.Column("orders", sa.Integer(), nullable=False),
        sa.Column("fetched", sa.Integer(), nullable=False),
        sa.Column("found", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_reconciliations"),
    )
    op.create_table(
        "book_differences",
        *_owner("book_differences"),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=8), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("ticket", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("here", sa.JSON(), nullable=False),
        sa.Column("there", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("found_at", UtcDateTime(), nullable=False),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_book_differences"),
        sa.UniqueConstraint(
            "account_id",
            "subject",
            "kind",
            "ticket",
            "digest",
            name="uq_book_differences_account_id_subject_kind_ticket_digest",
        ),
    )
    op.create_index(
        "ix_book_differences_timeline",
        "book_differences",
        ["account_id", "found_at", "id"],
    )
    if op.get_bind().dialect.name == "postgresql":
        row_security.protect(op.get_bind())


def downgrade() -> None:
    for table in ("book_differences", "reconciliations", "position_sights", "history_orders", "deal_corrections"):
        op.drop_table(table)


def _owner(table: str) -> tuple[Any, ...]:
    return (
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=f"fk_{table}_tenant_id"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=f"fk_{table}_account_id"),
    )
