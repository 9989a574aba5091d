"""Limits that a tenant's plan gives it instead of the farm's own; the request that has set off a job.

Revision: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db import row_security

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tenant_limits",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        *(
            sa.Column(name, sa.String(length=16), nullable=True)
            for name in ("requests_of_key", "requests_of_user", "requests_of_tenant")
        ),
        *(sa.Column(name, sa.Integer(), nullable=True) for name in ("streams_of_user", "streams_of_tenant")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_tenant_limits_tenant_id"),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_tenant_limits"),
    )
    op.add_column("jobs", sa.Column("request_id", sa.String(length=64), nullable=False, server_default=""))
    if op.get_bind().dialect.name == "postgresql":
        row_security.protect(op.get_bind())


def downgrade() -> None:
    op.drop_column("jobs", "request_id")
    op.drop_table("tenant_limits")
