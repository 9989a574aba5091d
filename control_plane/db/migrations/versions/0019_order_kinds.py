"""Orders of all kinds: pending ones, changes, cancellations, many at once, and a person's word on unknown outcomes.

Revision: 0019
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from control_plane.db import row_security
from control_plane.db.types import UtcDateTime

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_NEW_COLUMNS: tuple[tuple[str, Any], ...] = (
    ("caller_order_id", sa.String(length=64)),
    ("batch_id", sa.String(length=40)),
    ("wished_price", sa.Double()),
    ("stop_limit_price", sa.Double()),
    ("expiration", sa.String(length=16)),
    ("expires_broker_time", sa.BigInteger()),
    ("position_by_ticket", sa.BigInteger()),
    ("pending_ticket", sa.BigInteger()),
    ("asked_at", UtcDateTime()),
    ("resolved_by", sa.String(length=40)),
)


def upgrade() -> None:
    for name, kind in _NEW_COLUMNS:
        op.add_column("orders", sa.Column(name, kind, nullable=True))
    # A fixed value for the rows that are there: Postgres writes none of them anew for it.
    op.add_column("orders", sa.Column("type", sa.String(length=16), nullable=False, server_default="market"))
    op.create_index(
        "ix_orders_account_id_orders_caller_order_id", "orders", ["account_id", "caller_order_id"], unique=True
    )
    op.create_index("ix_orders_batch_id", "orders", ["batch_id"])
    op.create_table(
        "order_batches",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_order_batches_account_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_order_batches_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_order_batches_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_order_batches"),
        sa.UniqueConstraint("user_id", "key", name="uq_order_batches_user_id_key"),
    )
    if op.get_bind().dialect.name == "postgresql":
        row_security.protect(op.get_bind())


def downgrade() -> None:
    op.drop_table("order_batches")
    op.drop_index("ix_orders_batch_id", "orders")
    op.drop_index("ix_orders_account_id_orders_caller_order_id", "orders")
    for name in ("type", *(name for name, _ in reversed(_NEW_COLUMNS))):
        op.drop_column("orders", name)
