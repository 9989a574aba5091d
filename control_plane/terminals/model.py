"""Tables of terminals: the wish and the observation have different writers, so they are different tables."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.assignments.relocation import LeasePolicy
from control_plane.db.base import Base, TenantRow
from control_plane.db.types import UtcDateTime
from control_plane.terminals.uptime import Service


class Terminal(TenantRow, Base):
    """What should be. Written by users and the reconciler."""

    __tablename__ = "terminals"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), unique=True)
    intent: Mapped[str] = mapped_column(String(16), index=True)
    hold: Mapped[str] = mapped_column(String(16))
    last_epoch: Mapped[int]
    """Highest epoch ever given out for this terminal; never lowered."""
    placement_note: Mapped[str] = mapped_column(String(300))
    """Why the terminal runs where it runs, or why it waits."""
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    lease_policy: Mapped[str] = mapped_column(String(16), default=LeasePolicy.KEEP_RUNNING)
    access_epoch: Mapped[int] = mapped_column(default=0)
    """Rises when every permission given out before must end; never lowered."""
    avoid_node_id: Mapped[str | None] = mapped_column(String(40))
    """The node that it was moved away from; another one is preferred for its next place."""
    preferred_node_id: Mapped[str | None] = mapped_column(String(40))
    """The node that an operator chose for its next place; taken when it can, forgotten once there is a place."""
    wanted_pool: Mapped[str] = mapped_column(String(40), default="")
    """Empty: the tenant's. This and what follows holds for its next place; it never moves a terminal."""
    wanted_region: Mapped[str] = mapped_column(String(40), default="")
    """Empty: any."""
    wanted_labels: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)


class OneOffRequest(TenantRow, Base):
    """Something that the node should do once with a terminal. It is in every snapshot until the node has done it."""

    __tablename__ = "terminal_requests"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    terminal_id: Mapped[str] = mapped_column(ForeignKey("terminals.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class TerminalObservation(TenantRow, Base):
    """What is. Written from the reports of the node that holds the current epoch, by nobody else.

    Only `service` is also written when the place is given up, since nobody reports any more from then on.
    """

    __tablename__ = "terminal_observations"

    terminal_id: Mapped[str] = mapped_column(ForeignKey("terminals.id"), primary_key=True)
    epoch: Mapped[int]
    phase: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(32))
    detail: Mapped[str] = mapped_column(String(500))
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    last_answer_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    restarts: Mapped[int]
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime)
    flat: Mapped[bool | None]
    """No positions and no pending orders; None when the node does not know."""
    memory: Mapped[int | None] = mapped_column(BigInteger)
    """Bytes."""
    build: Mapped[int | None]
    screen: Mapped[bool] = mapped_column(default=False)
    """People may look at it."""
    service: Mapped[str] = mapped_column(String(8), default=Service.UNKNOWN)
    """Whether it served its account at `reported_at`, judged from its answers (`uptime.judge_service`)."""


class TerminalTransition(TenantRow, Base):
    """One change of a terminal: of what is wished, of what is observed, or of where it runs. Never changed; kept for
    90 days."""

    __tablename__ = "terminal_transitions"
    __table_args__ = (Index("ix_terminal_transitions_timeline", "terminal_id", "at", "id"), Index(None, "at"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    terminal_id: Mapped[str] = mapped_column(ForeignKey("terminals.id"))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    """By the clock of the control plane."""
    kind: Mapped[str] = mapped_column(String(16))
    before: Mapped[str] = mapped_column(String(16))
    after: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(32))
    """A stable code; empty without one."""
    note: Mapped[str] = mapped_column(String(300))
    """Words for the owner of the account; may be empty."""
    actor: Mapped[str] = mapped_column(String(16))
    node_id: Mapped[str | None] = mapped_column(String(40))
    epoch: Mapped[int]
