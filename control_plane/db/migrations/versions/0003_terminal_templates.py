"""Terminal templates, and where they are used.

Revision: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.types import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "terminal_templates",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("broker", sa.String(length=100), nullable=False),
        sa.Column("build", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("servers", sa.JSON(), nullable=False),
        sa.Column("imported_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_terminal_templates"),
        sa.UniqueConstraint("sha256", name="uq_terminal_templates_sha256"),
    )
    op.create_table(
        "template_pins",
        sa.Column("server", sa.String(length=64), nullable=False),
        sa.Column("template_id", sa.String(length=40), nullable=False),
        sa.Column("previous_id", sa.String(length=40), nullable=True),
        sa.Column("pinned_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["server"], ["broker_servers.name"], name="fk_template_pins_server"),
        sa.ForeignKeyConstraint(["template_id"], ["terminal_templates.id"], name="fk_template_pins_template_id"),
        sa.ForeignKeyConstraint(["previous_id"], ["terminal_templates.id"], name="fk_template_pins_previous_id"),
        sa.PrimaryKeyConstraint("server", name="pk_template_pins"),
    )
    op.create_table(
        "template_trials",
        sa.Column("server", sa.String(length=64), nullable=False),
        sa.Column("node_id", sa.String(length=40), nullable=False),
        sa.Column("template_id", sa.String(length=40), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["server"], ["broker_servers.name"], name="fk_template_trials_server"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_template_trials_node_id"),
        sa.ForeignKeyConstraint(["template_id"], ["terminal_templates.id"], name="fk_template_trials_template_id"),
        sa.PrimaryKeyConstraint("server", name="pk_template_trials"),
    )


def downgrade() -> None:
    for table in ("template_trials", "template_pins", "terminal_templates"):
        op.drop_table(table)
