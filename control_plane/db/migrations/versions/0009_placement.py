"""Pools, regions, labels and dedicated nodes; what terminals ask for; memory and the reason of every place.

Revision: 0009
"""

from __future__ import annotations

from typing import Any

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
    place = ["pool", "region", "labels", "dedicated_tenant_id"]
    known: dict[str, tuple[str, sa.types.TypeEngine[Any], str | None]] = {
        "pool": ("pool", sa.String(length=40), "default"),
        "region": ("region", sa.String(length=40), ""),
        "labels": ("labels", sa.JSON(), "{}"),
        "dedicated_tenant_id": ("dedicated_tenant_id", sa.String(length=40), None),
    }
    return {
        "nodes": [
            *(_column(*known[name]) for name in place),
            _column("outgoing_address", sa.String(length=45), ""),
            _column("seen_from", sa.String(length=45), ""),
        ],
        "enrolment_tokens": [_column(*known[name]) for name in place],
        "terminals": [
            _column("wanted_pool", sa.String(length=40), ""),
            _column("wanted_region", sa.String(length=40), ""),
            _column("wanted_labels", sa.JSON(), "{}"),
        ],
        "assignments": [_column("memory", sa.BigInteger(), "0"), _column("explanation", sa.JSON(), None)],
    }


def _column(name: str, kind: sa.types.TypeEngine[Any], present: str | None) -> sa.Column[object]:
    """Rows that are there get `present`; None: nothing."""
    return sa.Column(name, kind, nullable=present is None, server_default=present)
