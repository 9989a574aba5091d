"""Verified sign-ups, second factors, known devices, API keys, mails; sessions that tell where they are.

Revision: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.types import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _upgrade_sessions()
    _make_proofs()
    _make_mails()
    op.drop_table("sign_in_failures")
    op.create_table(
        "attempt_lanes",
        sa.Column("lane_hash", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("lane_hash", name="pk_attempt_lanes"),
    )
    op.create_index("ix_attempt_lanes_last_at", "attempt_lanes", ["last_at"])


def _upgrade_sessions() -> None:
    with op.batch_alter_table("user_sessions") as table:
        table.add_column(sa.Column("last_seen_at", UtcDateTime(), nullable=True))
        table.add_column(sa.Column("address", sa.String(length=45), nullable=False, server_default=""))
        table.add_column(sa.Column("user_agent", sa.String(length=200), nullable=False, server_default=""))
        table.add_column(sa.Column("proved_at", UtcDateTime(), nullable=True))
        table.add_column(sa.Column("second_factor_at", UtcDateTime(), nullable=True))
    op.execute("UPDATE user_sessions SET last_seen_at = created_at, proved_at = created_at")
    with op.batch_alter_table("user_sessions") as table:
        table.alter_column("last_seen_at", nullable=False, existing_type=UtcDateTime())
        table.alter_column("proved_at", nullable=False, existing_type=UtcDateTime())
        table.alter_column("address", server_default=None, existing_type=sa.String(length=45))
        table.alter_column("user_agent", server_default=None, existing_type=sa.String(length=200))


def _make_proofs() -> None:
    _make_table_of_user(
        "totp_devices",
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("confirmed_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "key_version"],
            ["tenant_keys.tenant_id", "tenant_keys.version"],
            name="fk_totp_devices_tenant_id_key_version",
        ),
    )
    op.create_index("ix_totp_devices_user_id", "totp_devices", ["user_id"])
    op.create_index("ix_totp_devices_tenant_id_totp_devices_key_version", "totp_devices", ["tenant_id", "key_version"])
    _make_table_of_user(
        "recovery_codes",
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=True),
    )
    op.create_index(
        "ix_recovery_codes_user_id_recovery_codes_code_hash", "recovery_codes", ["user_id", "code_hash"], unique=True
    )
    _make_table_of_user(
        "known_devices",
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("last_used_at", UtcDateTime(), nullable=False),
    )
    op.create_index(
        "ix_known_devices_user_id_known_devices_secret_hash", "known_devices", ["user_id", "secret_hash"], unique=True
    )
    _make_table_of_user(
        "api_keys",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.UniqueConstraint("prefix", name="uq_api_keys_prefix"),
    )
    op.create_index("ix_api_keys_user_id", "api_keys", ["user_id"])


def _make_table_of_user(name: str, *columns: sa.schema.SchemaItem) -> None:
    op.create_table(
        name,
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=f"fk_{name}_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=f"fk_{name}_user_id"),
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
    )


def _make_mails() -> None:
    op.create_table(
        "sign_ups",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("display_name", sa.String(length=80), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_sign_ups_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_sign_ups"),
    )
    op.create_index("ix_sign_ups_email", "sign_ups", ["email"])
    op.create_table(
        "mails",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("recipient", sa.String(length=254), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_mails_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_mails"),
        sa.UniqueConstraint("secret_hash", name="uq_mails_secret_hash"),
    )
    op.create_index("ix_mails_recipient", "mails", ["recipient"])
    op.create_index("ix_mails_expires_at", "mails", ["expires_at"])


def downgrade() -> None:
    for table in (
        "attempt_lanes",
        "mails",
        "sign_ups",
        "api_keys",
        "known_devices",
        "recovery_codes",
        "totp_devices",
    ):
        op.drop_table(table)
    with op.batch_alter_table("user_sessions") as sessions:
        for column in ("second_factor_at", "proved_at", "user_agent", "address", "last_seen_at"):
            sessions.drop_column(column)
    op.create_table(
        "sign_in_failures",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("email_hash", sa.String(length=64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sign_in_failures"),
    )
    op.create_index("ix_sign_in_failures_email_hash_sign_in_failures_at", "sign_in_failures", ["email_hash", "at"])
