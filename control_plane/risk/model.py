"""Tables of risk: limits that people set, kill switches that they throw, and what the nodes report of their guards."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base, TenantRow
from control_plane.db.types import UtcDateTime


class AccountLimits(TenantRow, Base):
    """What the owner of an account wants limited. Written by people only."""

    __tablename__ = "account_limits"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    limits: Mapped[dict[str, Any]] = mapped_column(JSON)
    """As `limits.Limits` reads it."""
    rearm_id: Mapped[str] = mapped_column(String(40))
    """A new one each time somebody re-arms; empty before the first."""
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LimitDefaults(TenantRow, Base):
    """What holds for every account of a tenant; accounts may only be stricter."""

    __tablename__ = "limit_defaults"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    limits: Mapped[dict[str, Any]] = mapped_column(JSON)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class GuardObservation(TenantRow, Base):
    """What the guard of an account's terminal last said. Written from the reports of its node only."""

    __tablename__ = "guard_observations"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    epoch: Mapped[int]
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    """`ObservedGuard` of the protocol."""
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime)


class KillSwitch(TenantRow, Base):
    """One throw of a kill switch, in force until it is released. Of the fleet, it belongs to the operator."""

    __tablename__ = "kill_switches"
    __table_args__ = (Index(None, "released_at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    scope: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(String(40))
    """Of the account, user or tenant; empty for the fleet."""
    mode: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(250))
    thrown_by: Mapped[str] = mapped_column(String(254))
    thrown_at: Mapped[datetime] = mapped_column(UtcDateTime)
    spread_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the accounts that it concerns were listed, and their nodes told."""
    released_by: Mapped[str] = mapped_column(String(254), default="")
    released_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class KillTarget(TenantRow, Base):
    """What became of one account under a kill switch."""

    __tablename__ = "kill_targets"

    kill_id: Mapped[str] = mapped_column(ForeignKey("kill_switches.id"), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    positions: Mapped[int | None]
    """As last seen; None while nobody knows."""
    orders: Mapped[int | None]
    note: Mapped[str] = mapped_column(String(300))
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the guard last looked at the account."""
    done_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
