"""Transitions of terminals, tests of connections, and more about broker servers.

Revision: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db import row_security
from control_plane.db.types import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_SERVER_COLUMNS = (("display_name", 100, ""), ("kind", 8, "unknown"), ("time_zone", 64, ""), ("source", 16, "operator"))


def upgrade() -> None:
    for name, length, default in _SERVER_COLUMNS:
        column = sa.Column(name, sa.String(length=length), nullable=False, server_default=default)
        op.add_column("broker_servers", column)
    op.add_column("terminals", sa.Column("preferred_node_id", sa.String(length=40), nullable=True))
    service = sa.Column("service", sa.String(length=8), nullable=False, server_default="unknown")
    op.add_column("terminal_observations", service)
    _create_transitions()
    _create_connection_tests()
    if op.get_bind().dialect.name == "postgresql":
        row_security.protect(op.get_bind())


def downgrade() -> None:
    op.drop_table("connection_tests")
    op.drop_table("terminal_transitions")
    op.drop_column("terminal_observations", "service")
    op.drop_column("terminals", "preferred_node_id")
    for name, _, _ in reversed(_SERVER_COLUMNS):
        op.drop_column("broker_servers", name)


def _create_transitions() -> None:
    op.create_table(
        "terminal_transitions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("terminal_id", sa.String(length=40), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("before", sa.String(length=16), nullable=False),
        sa.Column("after", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("note", sa.String(length=300), nullable=False),
        sa.Column("actor", sa.String(length=16), nullable=False),
        sa.Column("node_id", sa.String(length=40), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_terminal_transitions_tenant_id"),
        sa.ForeignKeyConstraint(["terminal_id"], ["terminals.id"], name="fk_terminal_transitions_terminal_id"),
        sa.PrimaryKeyConstraint("id", name="pk_terminal_transitions"),
    )
    op.create_index("ix_terminal_transitions_timeline", "terminal_transitions", ["terminal_id", "at", "id"])
    op.create_index("ix_terminal_transitions_at", "terminal_transitions", ["at"])


def _create_connection_tests() -> None:
    op.create_table(
        "connection_tests",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("words", sa.String(length=400), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("deadline", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_connection_tests_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_connection_tests_user_id"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_connection_tests_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_connection_tests"),
        sa.UniqueConstraint("account_id", name="uq_connection_tests_account_id"),
    )
    op.create_index("ix_connection_tests_finished_at", "connection_tests", ["finished_at"])
