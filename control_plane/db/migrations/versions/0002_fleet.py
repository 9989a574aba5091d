"""Availability, drains, identities, leases and fencing of nodes; lease policy and access epoch of terminals; audit.

Columns are added in place and never by copying a table: SQLite would check the foreign keys of the copied one.

Revision: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.types import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    # A policy that nobody has asked for yet cannot be provably followed, so every place starts with
    # `keep_running`; what ended before had been confirmed by the node, the only proof there was.
    op.execute("UPDATE assignments SET ended_by = 'confirmed' WHERE released_at IS NOT NULL")
    # The moment at which the silence began to count is not known any more; the last contact is the earliest it can be.
    op.execute("UPDATE nodes SET silent_since = last_seen_at WHERE state <> 'online'")
    _create_relocation_breaker()
    _create_audit_entries()
    _create_revoked_tickets()


def downgrade() -> None:
    for table in ("revoked_tickets", "audit_entries", "relocation_breaker"):
        op.drop_table(table)
    for table, columns in _columns().items():
        for column in reversed(columns):
            op.drop_column(table, column.name)


def _columns() -> dict[str, list[sa.Column[object]]]:
    return {
        "nodes": [
            _moment("silent_since"),
            _number("strays"),
            _moment("lease_granted_at"),
            _moment("fence_due_at"),
            sa.Column("continuity_newest", sa.String(length=64), nullable=True, server_default=""),
            _text("continuity_acknowledged", 64),
            sa.Column("signed_at", sa.BigInteger(), nullable=False, server_default="0"),
            _text("identity_state", 16, "trusted"),
            _text("identity_note", 300),
            _text("availability", 16, "open"),
            _text("availability_note", 300),
            _moment("drain_started_at"),
            _moment("drain_deadline"),
            _number("drain_total"),
            _moment("declared_dead_at"),
        ],
        "terminals": [
            _text("lease_policy", 16, "keep_running"),
            _number("access_epoch"),
            sa.Column("avoid_node_id", sa.String(length=40), nullable=True),
        ],
        "assignments": [_text("lease_policy", 16, "keep_running"), _text("ended_by", 16)],
        "terminal_observations": [
            sa.Column("flat", sa.Boolean(), nullable=True),
            sa.Column("memory", sa.BigInteger(), nullable=True),
            sa.Column("build", sa.Integer(), nullable=True),
        ],
    }


def _text(name: str, length: int, present: str = "") -> sa.Column[object]:
    return sa.Column(name, sa.String(length=length), nullable=False, server_default=present)


def _number(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Integer(), nullable=False, server_default="0")


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, UtcDateTime(), nullable=True)


def _create_relocation_breaker() -> None:
    op.create_table(
        "relocation_breaker",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("note", sa.String(length=300), nullable=False),
        sa.Column("lifted_at", UtcDateTime(), nullable=True),
        sa.Column("lifted_by", sa.String(length=254), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_relocation_breaker"),
    )


def _create_audit_entries() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(length=254), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=300), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_audit_entries_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entries"),
    )
    op.create_index("ix_audit_entries_subject_id_audit_entries_at", "audit_entries", ["subject_id", "at"], unique=False)


def _create_revoked_tickets() -> None:
    op.create_table(
        "revoked_tickets",
        sa.Column("terminal_id", sa.String(length=40), nullable=False),
        sa.Column("ticket_id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("node_id", sa.String(length=40), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_revoked_tickets_tenant_id"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_revoked_tickets_node_id"),
        sa.ForeignKeyConstraint(["terminal_id"], ["terminals.id"], name="fk_revoked_tickets_terminal_id"),
        sa.PrimaryKeyConstraint("terminal_id", "ticket_id", name="pk_revoked_tickets"),
    )
    op.create_index(
        "ix_revoked_tickets_node_id_revoked_tickets_expires_at",
        "revoked_tickets",
        ["node_id", "expires_at"],
        unique=False,
    )
