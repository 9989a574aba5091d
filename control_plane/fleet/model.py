"""Tables of nodes and of the tokens that let them in."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base
from control_plane.db.types import UtcDateTime


class Node(Base):
    """A machine that hosts terminals, as its agent presents it."""

    __tablename__ = "nodes"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    identity_key: Mapped[str] = mapped_column(String(64))
    sealing_key: Mapped[str] = mapped_column(String(64))
    gateway_address: Mapped[str] = mapped_column(String(260))
    runtimes: Mapped[list[str]] = mapped_column(JSON)
    slots: Mapped[int]
    platform: Mapped[str] = mapped_column(String(100))
    enrolled_at: Mapped[datetime] = mapped_column(UtcDateTime)
    identity_expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    boot_id: Mapped[str] = mapped_column(String(64))
    superseded_boot_id: Mapped[str] = mapped_column(String(64))
    sequence: Mapped[int] = mapped_column(BigInteger)
    generation: Mapped[int] = mapped_column(BigInteger)
    """Rises in the same transaction as anything that changes what this node should run."""
    report: Mapped[dict[str, Any]] = mapped_column(JSON)


class EnrolmentToken(Base):
    """One-time permission to enrol one node. Only the hash is kept."""

    __tablename__ = "enrolment_tokens"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(64))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    node_id: Mapped[str | None] = mapped_column(ForeignKey("nodes.id"))


class SeenRequest(Base):
    """Id of a signed request that was accepted; kept as long as its signature could be replayed."""

    __tablename__ = "seen_requests"

    token_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
