"""Tables of sealed secrets."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import UtcDateTime


class TenantKey(TenantRow, Base):
    """The data key of a tenant, wrapped by the master key."""

    __tablename__ = "tenant_keys"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SealedCredentials(TenantRow, Base):
    """The password of a trading account, sealed for its tenant, account, column and version."""

    __tablename__ = "sealed_credentials"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    version: Mapped[int]
    """Rises with each change of the password."""
    key_version: Mapped[int]
    sealed_password: Mapped[bytes] = mapped_column(LargeBinary)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class FarmKey(Base):
    """A private key of the farm itself, wrapped by the master key."""

    __tablename__ = "farm_keys"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    public: Mapped[str] = mapped_column(String(4000))
    """PEM certificate or encoded public key."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
