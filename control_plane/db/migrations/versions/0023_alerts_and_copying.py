"""Alerts with their settings, webhooks and deliveries, and copy trading.

Revision: 0023
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db import row_security
from control_plane.db.types import Money, UtcDateTime

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_TABLES = (
    "alert_preferences",
    "alert_notices",
    "alert_deliveries",
    "webhook_endpoints",
    "webhook_secrets",
    "alert_thresholds",
    "telegram_chats",
    "copy_invitations",
    "copiers",
    "copy_links",
    "copy_steps",
)


def upgrade() -> None:
    op.create_table(
        "alert_preferences",
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("modes", sa.JSON(), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("quiet_from", sa.Integer(), nullable=True),
        sa.Column("quiet_until", sa.Integer(), nullable=True),
        sa.Column("digest", sa.String(length=8), nullable=False),
        sa.Column("stale_minutes", sa.Integer(), nullable=False),
        sa.Column("drawdown_percent", sa.Double(), nullable=False),
        sa.Column("margin_level_percent", sa.Double(), nullable=False),
        sa.Column("report_minute", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_alert_preferences_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_alert_preferences_user_id"),
        sa.PrimaryKeyConstraint("user_id", name="pk_alert_preferences"),
    )
    op.create_table(
        "alert_notices",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("event", sa.String(length=24), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=160), nullable=False),
        sa.Column("title", sa.String(length=160), nullable=False),
        sa.Column("text", sa.String(length=1000), nullable=False),
        sa.Column("lasting", sa.Boolean(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("raised_at", UtcDateTime(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.Column("resolved_at", UtcDateTime(), nullable=True),
        sa.Column("read_at", UtcDateTime(), nullable=True),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_alert_notices_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_alert_notices_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_alert_notices"),
        sa.UniqueConstraint("user_id", "key", name="uq_alert_notices_user_id_key"),
    )
    op.create_index(
        "ix_alert_notices_lasting_alert_notices_resolved_at",
        "alert_notices",
        ["lasting", "resolved_at"],
        unique=False,
    )
    op.create_index("ix_alert_notices_raised_at", "alert_notices", ["raised_at"], unique=False)
    op.create_index(
        "ix_alert_notices_newest",
        "alert_notices",
        ["user_id", "raised_at", "id"],
        unique=False,
    )
    op.create_table(
        "alert_deliveries",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("notice_id", sa.String(length=40), nullable=False),
        sa.Column("channel", sa.String(length=12), nullable=False),
        sa.Column("part", sa.String(length=12), nullable=False),
        sa.Column("silent", sa.Boolean(), nullable=False),
        sa.Column("endpoint_id", sa.String(length=40), nullable=True),
        sa.Column("message_id", sa.String(length=40), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("handed_over", sa.Boolean(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(length=200), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_alert_deliveries_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_alert_deliveries_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_alert_deliveries"),
    )
    op.create_index("ix_alert_deliveries_created_at", "alert_deliveries", ["created_at"], unique=False)
    op.create_index(
        "ix_alert_deliveries_endpoint_id_alert_deliveries_id", "alert_deliveries", ["endpoint_id", "id"], unique=False
    )
    op.create_index("ix_alert_deliveries_notice_id", "alert_deliveries", ["notice_id"], unique=False)
    op.create_index(
        "ix_alert_deliveries_state_alert_deliveries_due_at", "alert_deliveries", ["state", "due_at"], unique=False
    )
    op.create_index(
        "ix_alert_deliveries_user_id_alert_deliveries_state", "alert_deliveries", ["user_id", "state"], unique=False
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("description", sa.String(length=120), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("disabled_reason", sa.String(length=200), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_webhook_endpoints_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_webhook_endpoints_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoints"),
    )
    op.create_index("ix_webhook_endpoints_user_id", "webhook_endpoints", ["user_id"], unique=False)
    op.create_table(
        "webhook_secrets",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("endpoint_id", sa.String(length=40), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["endpoint_id"], ["webhook_endpoints.id"], name="fk_webhook_secrets_endpoint_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_webhook_secrets_tenant_id"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "key_version"],
            ["tenant_keys.tenant_id", "tenant_keys.version"],
            name="fk_webhook_secrets_tenant_id_key_version",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_secrets"),
    )
    op.create_index("ix_webhook_secrets_endpoint_id", "webhook_secrets", ["endpoint_id"], unique=False)
    columns = ["tenant_id", "key_version"]
    op.create_index("ix_webhook_secrets_tenant_id_webhook_secrets_key_version", "webhook_secrets", columns)
    op.create_table(
        "alert_thresholds",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("value", Money(), nullable=False),
        sa.Column("note", sa.String(length=120), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_alert_thresholds_account_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_alert_thresholds_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_alert_thresholds_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_alert_thresholds"),
    )
    op.create_index("ix_alert_thresholds_account_id", "alert_thresholds", ["account_id"], unique=False)
    op.create_index("ix_alert_thresholds_user_id", "alert_thresholds", ["user_id"], unique=False)
    op.create_table(
        "telegram_chats",
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=True),
        sa.Column("code_expires_at", UtcDateTime(), nullable=True),
        sa.Column("chat_id", sa.BigInteger(), nullable=True),
        sa.Column("linked_at", UtcDateTime(), nullable=True),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_telegram_chats_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_telegram_chats_user_id"),
        sa.PrimaryKeyConstraint("user_id", name="pk_telegram_chats"),
        sa.UniqueConstraint("code_hash", name="uq_telegram_chats_code_hash"),
    )
    op.create_table(
        "copy_invitations",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_copy_invitations_account_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_copy_invitations_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_copy_invitations_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_copy_invitations"),
        sa.UniqueConstraint("code_hash", name="uq_copy_invitations_code_hash"),
    )
    op.create_index("ix_copy_invitations_user_id", "copy_invitations", ["user_id"], unique=False)
    op.create_table(
        "copiers",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("leader_user_id", sa.String(length=40), nullable=False),
        sa.Column("leader_account_id", sa.String(length=40), nullable=False),
        sa.Column("follower_user_id", sa.String(length=40), nullable=False),
        sa.Column("follower_account_id", sa.String(length=40), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("magic", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=300), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("started", sa.Boolean(), nullable=False),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("peak_equity", Money(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("stopped_at", UtcDateTime(), nullable=True),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["follower_account_id"], ["accounts.id"], name="fk_copiers_follower_account_id"),
        sa.ForeignKeyConstraint(["follower_user_id"], ["users.id"], name="fk_copiers_follower_user_id"),
        sa.ForeignKeyConstraint(["leader_account_id"], ["accounts.id"], name="fk_copiers_leader_account_id"),
        sa.ForeignKeyConstraint(["leader_user_id"], ["users.id"], name="fk_copiers_leader_user_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_copiers_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_copiers"),
    )
    op.create_index("ix_copiers_follower_account_id", "copiers", ["follower_account_id"], unique=False)
    op.create_index("ix_copiers_follower_user_id", "copiers", ["follower_user_id"], unique=False)
    op.create_index("ix_copiers_leader_account_id", "copiers", ["leader_account_id"], unique=False)
    op.create_index("ix_copiers_leader_user_id", "copiers", ["leader_user_id"], unique=False)
    op.create_index("ix_copiers_state", "copiers", ["state"], unique=False)
    op.create_table(
        "copy_links",
        sa.Column("copier_id", sa.String(length=40), nullable=False),
        sa.Column("leader_ticket", sa.BigInteger(), nullable=False),
        sa.Column("follower_ticket", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("leader_volume", sa.Double(), nullable=False),
        sa.Column("follower_volume", sa.Double(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("note", sa.String(length=300), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["copier_id"], ["copiers.id"], name="fk_copy_links_copier_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_copy_links_tenant_id"),
        sa.PrimaryKeyConstraint("copier_id", "leader_ticket", name="pk_copy_links"),
    )
    op.create_table(
        "copy_steps",
        sa.Column("copier_id", sa.String(length=40), nullable=False),
        sa.Column("leader_ticket", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("side", sa.String(length=8), nullable=False),
        sa.Column("volume", sa.Double(), nullable=False),
        sa.Column("stop_loss", sa.Double(), nullable=True),
        sa.Column("take_profit", sa.Double(), nullable=True),
        sa.Column("follower_ticket", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("message", sa.String(length=300), nullable=False),
        sa.Column("order_id", sa.String(length=40), nullable=False),
        sa.Column("leader_price", sa.Double(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.Column("slippage_points", sa.Double(), nullable=True),
        sa.Column("lag_ms", sa.Integer(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["copier_id"], ["copiers.id"], name="fk_copy_steps_copier_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_copy_steps_tenant_id"),
        sa.PrimaryKeyConstraint("copier_id", "leader_ticket", "number", name="pk_copy_steps"),
    )
    op.create_index(
        "ix_copy_steps_copier_id_copy_steps_created_at", "copy_steps", ["copier_id", "created_at"], unique=False
    )
    op.create_index("ix_copy_steps_copier_id_copy_steps_state", "copy_steps", ["copier_id", "state"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        row_security.protect(op.get_bind())


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)
