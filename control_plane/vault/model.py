"""Tables of sealed secrets, and of what brokers made of them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import UtcDateTime


class TenantKey(TenantRow, Base):
    """A data key of a tenant, wrapped by a master key. The newest version seals; older ones open what is left."""

    __tablename__ = "tenant_keys"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    master_id: Mapped[str] = mapped_column(String(32), index=True)
    """Which master key wrapped it; empty for a row from before this was kept."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SealedCredentials(TenantRow, Base):
    """The password of a trading account, sealed for its tenant, account, column, version and data key.

    The database itself keeps a data key from being deleted while something is sealed with it.
    """

    __tablename__ = "sealed_credentials"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "key_version"], ["tenant_keys.tenant_id", "tenant_keys.version"]),
        Index(None, "tenant_id", "key_version"),
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    version: Mapped[int]
    """Rises with each change of the password."""
    key_version: Mapped[int]
    sealed_password: Mapped[bytes] = mapped_column(LargeBinary)
    verdict: Mapped[str] = mapped_column(String(16))
    """What the broker made of this version of the password."""
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LoginRefusal(TenantRow, Base):
    """A broker refused one version of a password. Kept for a day."""

    __tablename__ = "login_refusals"
    __table_args__ = (Index(None, "server", "at"),)

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    server: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class FarmKey(Base):
    """A private key of the farm itself, wrapped by a master key."""

    __tablename__ = "farm_keys"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    master_id: Mapped[str] = mapped_column(String(32))
    public: Mapped[str] = mapped_column(String(4000))
    """PEM certificate or encoded public key."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
