"""Tables of deeds and of the heads of their chains."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import UtcDateTime


class AuditEntry(TenantRow, Base):
    """One deed. Its tenant is the one to whose thing it was done.

    Rows are only ever added, which the database enforces.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (Index(None, "subject_id", "at"), Index(None, "tenant_id", "seq", unique=True))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    """Position in the tenant's chain, from 1, without gaps."""
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(254))
    """Id or e-mail address of a user, `local:` and the name on the machine for the command line, or `farm`."""
    on_behalf_of: Mapped[str] = mapped_column(String(254))
    """Id of the user whose wish it was, where that is not the actor."""
    origin: Mapped[str] = mapped_column(String(120))
    """Where it came from: address and request id, `command line`, or `farm`."""
    action: Mapped[str] = mapped_column(String(40))
    subject_id: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str] = mapped_column(String(300))
    before: Mapped[str] = mapped_column(Text)
    """What was, as a JSON object, never with a secret; empty where nothing is said."""
    after: Mapped[str] = mapped_column(Text)
    previous_hash: Mapped[str] = mapped_column(String(64))
    entry_hash: Mapped[str] = mapped_column(String(64))


class AuditChain(TenantRow, Base):
    """The newest entry of a tenant's chain, signed by the farm."""

    __tablename__ = "audit_chains"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    head_hash: Mapped[str] = mapped_column(String(64))
    signature: Mapped[bytes] = mapped_column(LargeBinary)
