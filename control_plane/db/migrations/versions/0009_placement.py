"""Pools, regions, labels and dedicated nodes; what terminals ask for; memory and the reason of every place.

Revision: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db import row_security
from control_plane.db.types import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    op.create_table(
        "pools",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("strategy", sa.String(length=16), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("terminal_memory", sa.BigInteger(), nullable=True),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_pools"),
    )
    op.create_table(
        "tenant_placements",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("pool", sa.String(length=40), nullable=False),
        sa.Column("only_dedicated", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_tenant_placements_tenant_id"),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_tenant_placements"),
    )
    if op.get_context().dialect.name == "postgresql":
        row_security.protect(op.get_bind())


def downgrade() -> None:
    op.drop_table("tenant_placements")
    op.drop_table("pools")
    for table, columns in _columns().items():
        for column in reversed(columns):
            op.drop_column(table, column.name)


def _columns() -> dict[str, list[sa.Column[object]]]:
    return {
        "nodes": [*_place_of_a_node(), _text("outgoing_address", 45), _text("seen_from", 45)],
        "enrolment_tokens": _place_of_a_node(),
        "terminals": [_text("wanted_pool", 40), _text("wanted_region", 40), _labels("wanted_labels")],
        "assignments": [
            sa.Column("memory", sa.BigInteger(), nullable=False, server_default="0"),
            sa.Column("explanation", sa.JSON(), nullable=True),
        ],
    }


def _place_of_a_node() -> list[sa.Column[object]]:
    return [
        _text("pool", 40, "default"),
        _text("region", 40),
        _labels("labels"),
        sa.Column("dedicated_tenant_id", sa.String(length=40), nullable=True),
    ]


def _text(name: str, length: int, present: str = "") -> sa.Column[object]:
    return sa.Column(name, sa.String(length=length), nullable=False, server_default=present)


def _labels(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=False, server_default="{}")
