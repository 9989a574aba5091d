"""All SQL of readiness and metrics: counts over the whole farm, never a row of anybody."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from control_plane.fleet.model import Node
from control_plane.jobs.model import Job
from control_plane.jobs.state import JobState
from control_plane.terminals.model import TerminalObservation
from control_plane.trading.model import Order
from control_plane.trading.state import OrderState


def oldest_due(session: Session) -> datetime | None:
    """When the job that waits longest was to run; None when none waits."""
    return session.scalar(select(func.min(Job.run_at)).where(Job.state == JobState.QUEUED))


def jobs(session: Session) -> dict[tuple[str, ...], int]:
    """By kind and state; those that are done are forgotten after a while."""
    return _counted(session, Job.kind, Job.state)


def nodes(session: Session) -> dict[tuple[str, ...], int]:
    """By state, availability and trust in the identity."""
    return _counted(session, Node.state, Node.availability, Node.identity_state)


def awaited_nodes(session: Session) -> int:
    """Nodes that hold up what is to be started after a restore."""
    query = select(func.count()).select_from(Node).where(Node.awaited, Node.declared_dead_at.is_(None))
    return session.scalar(query) or 0


def terminals(session: Session) -> dict[tuple[str, ...], int]:
    """By the phase last reported."""
    return _counted(session, TerminalObservation.phase)


def orders(session: Session) -> dict[tuple[str, ...], int]:
    """By state, those that are not settled."""
    open_states = OrderState.PENDING, OrderState.SENT, OrderState.UNKNOWN
    query = select(Order.state, func.count()).where(Order.state.in_(open_states)).group_by(Order.state)
    return {(state,): number for state, number in session.execute(query)}


def _counted(session: Session, *columns: InstrumentedAttribute[str]) -> dict[tuple[str, ...], int]:
    rows: Iterable[Any] = session.execute(select(*columns, func.count()).group_by(*columns))
    return {tuple(key): int(number) for *key, number in rows}
