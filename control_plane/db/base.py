"""Base of all tables."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Constraint names are fixed by rule, so that migrations can name them on every database."""

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class TenantRow:
    """A row that belongs to one tenant.

    `tenancy` keeps it apart from other tenants' in code, and `row_security` in Postgres.
    """

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
