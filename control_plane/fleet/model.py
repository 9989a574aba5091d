"""Tables of nodes and of the tokens that let them in."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import UtcDateTime
from control_plane.fleet.state import Availability, IdentityState


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
    silent_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """From when on its silence counts; None while it is heard."""
    strays: Mapped[int] = mapped_column(default=0)
    """Terminals that it reports and should not have, such as those moved away while it was silent."""
    lease_granted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the last sync was answered."""
    fence_due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """By when its `self_fence` terminals are dead if it never hears of us again; never moved to an earlier time."""
    continuity_newest: Mapped[str | None] = mapped_column(String(64), default="")
    """Token given with the last answer; None after an unlock: whichever the node shows next is believed."""
    continuity_acknowledged: Mapped[str] = mapped_column(String(64), default="")
    protocol: Mapped[str] = mapped_column(String(8), default="")
    """Version that the agent spoke last; empty before its first sync."""
    signed_at: Mapped[int] = mapped_column(BigInteger, default=0)
    """When the last accepted sync was signed, by the node's clock, seconds since 1970."""
    identity_state: Mapped[str] = mapped_column(String(16), default=IdentityState.TRUSTED)
    identity_note: Mapped[str] = mapped_column(String(300), default="")
    availability: Mapped[str] = mapped_column(String(16), default=Availability.OPEN)
    """What is wished of the node; `state` is what is observed."""
    availability_note: Mapped[str] = mapped_column(String(300), default="")
    """Who wants it so, and why."""
    drain_started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    drain_deadline: Mapped[datetime | None] = mapped_column(UtcDateTime)
    drain_total: Mapped[int] = mapped_column(default=0)
    """How many terminals the node had when its drain began."""
    awaited: Mapped[bool] = mapped_column(default=False)
    """Since the database turned out to be older than the world, until the node has told what it runs, has its present
    snapshot, and runs nothing beside it."""
    declared_dead_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When an operator said that it is dead; None once it is heard again."""
    pool: Mapped[str] = mapped_column(String(40), default="default")
    region: Mapped[str] = mapped_column(String(40), default="")
    labels: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    dedicated_tenant_id: Mapped[str | None] = mapped_column(String(40))
    """The only tenant whose terminals may be there."""
    outgoing_address: Mapped[str] = mapped_column(String(45), default="")
    """From which its terminals reach their brokers, as operators know it; empty: taken to be `seen_from`."""
    seen_from: Mapped[str] = mapped_column(String(45), default="")
    """The address that its last sync came from."""


class RelocationBreaker(Base):
    """One row: whether terminals of lost nodes may be moved."""

    __tablename__ = "relocation_breaker"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    note: Mapped[str] = mapped_column(String(300))
    lifted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lifted_by: Mapped[str] = mapped_column(String(254))


class EnrolmentToken(TenantRow, Base):
    """One-time permission to enrol one node. Only the hash is kept."""

    __tablename__ = "enrolment_tokens"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    node_id: Mapped[str | None] = mapped_column(ForeignKey("nodes.id"))
    pool: Mapped[str] = mapped_column(String(40), default="default")
    """This and what follows the node has from its first moment on."""
    region: Mapped[str] = mapped_column(String(40), default="")
    labels: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    dedicated_tenant_id: Mapped[str | None] = mapped_column(String(40))


class SeenRequest(Base):
    """Id of a signed request that was accepted; kept as long as its signature could be replayed."""

    __tablename__ = "seen_requests"

    token_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
