"""Which master key wrapped what, what brokers made of passwords, and a hash chain of deeds for each tenant.

Revision: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.audit.chain import FIRST, link
from control_plane.db import row_security
from control_plane.db.types import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_KEY_INDEX = "ix_sealed_credentials_tenant_id_sealed_credentials_key_version"
_APPEND_ONLY = "audit_entries_append_only"


def upgrade() -> None:
    for table in ("tenant_keys", "farm_keys"):
        op.add_column(table, _text("master_id", 32))
    op.create_index("ix_tenant_keys_master_id", "tenant_keys", ["master_id"])
    with op.batch_alter_table("sealed_credentials") as batch:
        batch.add_column(_text("verdict", 16))
        batch.create_foreign_key(
            "fk_sealed_credentials_tenant_id_key_version",
            "tenant_keys",
            ["tenant_id", "key_version"],
            ["tenant_id", "version"],
        )
        batch.create_index(_KEY_INDEX, ["tenant_id", "key_version"])
    _create_login_refusals()
    _upgrade_audit()
    if op.get_bind().dialect.name == "postgresql":
        row_security.protect(op.get_bind())


def downgrade() -> None:
    _downgrade_audit()
    op.drop_table("login_refusals")
    with op.batch_alter_table("sealed_credentials") as batch:
        batch.drop_index(_KEY_INDEX)
        batch.drop_constraint("fk_sealed_credentials_tenant_id_key_version", type_="foreignkey")
        batch.drop_column("verdict")
    op.drop_index("ix_tenant_keys_master_id", "tenant_keys")
    for table in ("farm_keys", "tenant_keys"):
        op.drop_column(table, "master_id")


def _text(name: str, length: int) -> sa.Column[object]:
    return sa.Column(name, sa.String(length=length), nullable=False, server_default="")


def _create_login_refusals() -> None:
    op.create_table(
        "login_refusals",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("server", sa.String(length=64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_login_refusals_account_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_login_refusals_tenant_id"),
        sa.PrimaryKeyConstraint("account_id", "version", name="pk_login_refusals"),
    )
    op.create_index("ix_login_refusals_server_login_refusals_at", "login_refusals", ["server", "at"])


def _upgrade_audit() -> None:
    op.add_column("audit_entries", sa.Column("seq", sa.BigInteger(), nullable=False, server_default="0"))
    for name, length in (("on_behalf_of", 254), ("origin", 120), ("previous_hash", 64), ("entry_hash", 64)):
        op.add_column("audit_entries", _text(name, length))
    for name in ("before", "after"):
        op.add_column("audit_entries", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "audit_chains",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("head_hash", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_audit_chains_tenant_id"),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_audit_chains"),
    )
    _chain_present_entries()
    op.create_index("ix_audit_entries_tenant_id_audit_entries_seq", "audit_entries", ["tenant_id", "seq"], unique=True)
    _forbid_changes()


def _chain_present_entries() -> None:
    """In the order they were written. The farm signs the heads when it starts for the first time after this."""
    entries = sa.table(
        "audit_entries",
        *(sa.column(name) for name in ("id", "tenant_id", "actor", "action", "subject_id", "reason")),
        *(sa.column(name) for name in ("seq", "previous_hash", "entry_hash")),
        sa.column("at", UtcDateTime()),
    )
    chains = sa.table("audit_chains", *(sa.column(name) for name in ("tenant_id", "seq", "head_hash", "signature")))
    heads: dict[str, tuple[int, str]] = {}
    for row in op.get_bind().execute(sa.select(entries).order_by(entries.c.at, entries.c.id)).mappings().all():
        seq, previous = heads.get(row["tenant_id"], (0, FIRST))
        old = {name: row[name] for name in ("id", "tenant_id", "at", "actor", "action", "subject_id", "reason")}
        made = link(**old, seq=seq + 1, on_behalf_of="", origin="", before="", after="", previous_hash=previous)
        op.get_bind().execute(
            entries.update()
            .where(entries.c.id == row["id"])
            .values(seq=seq + 1, previous_hash=previous, entry_hash=made)
        )
        heads[row["tenant_id"]] = seq + 1, made
    for tenant_id, (seq, head) in heads.items():
        op.get_bind().execute(chains.insert().values(tenant_id=tenant_id, seq=seq, head_hash=head, signature=b""))


def _forbid_changes() -> None:
    """A slip in the farm's own code must not be able to change what was written down."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {_APPEND_ONLY}_{verb.lower()} BEFORE {verb} ON audit_entries "
                "BEGIN SELECT RAISE(ABORT, 'audit entries are only ever added'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {_APPEND_ONLY}() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'audit entries are only ever added'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {_APPEND_ONLY} BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {_APPEND_ONLY}()"
    )


def _downgrade_audit() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(f"DROP TRIGGER {_APPEND_ONLY}_{verb}")
    else:
        op.execute(f"DROP TRIGGER {_APPEND_ONLY} ON audit_entries")
        op.execute(f"DROP FUNCTION {_APPEND_ONLY}()")
    op.drop_index("ix_audit_entries_tenant_id_audit_entries_seq", "audit_entries")
    op.drop_table("audit_chains")
    for name in ("after", "before", "entry_hash", "previous_hash", "origin", "on_behalf_of", "seq"):
        op.drop_column("audit_entries", name)
