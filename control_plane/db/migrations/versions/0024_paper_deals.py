"""What bots on paper have filled by themselves.

Revision: 0024
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db import row_security
from control_plane.db.types import Money, UtcDateTime

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "paper_deals",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("bot_id", sa.String(length=40), nullable=False),
        sa.Column("event_id", sa.String(length=120), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("broker_time", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.String(length=4), nullable=False),
        sa.Column("side", sa.String(length=4), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("volume", sa.Double(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.Column("profit", Money(), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["bot_id"], ["bots.id"], name="fk_paper_deals_bot_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_paper_deals_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_paper_deals"),
        sa.UniqueConstraint("bot_id", "event_id", name="uq_paper_deals_bot_id_event_id"),
    )
    op.create_index(
        "ix_paper_deals_bot_id_paper_deals_at_paper_deals_id", "paper_deals", ["bot_id", "at", "id"], unique=False
    )
    if op.get_bind().dialect.name == "postgresql":
        row_security.protect(op.get_bind())


def downgrade() -> None:
    op.drop_table("paper_deals")
