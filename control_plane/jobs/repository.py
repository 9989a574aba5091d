"""All SQL of the outbox."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from control_plane.jobs.model import Job
from control_plane.jobs.state import JobKind, JobState


def next_due(session: Session, now: datetime, kinds: Collection[JobKind]) -> Job | None:
    """The job that is due longest, held until the transaction ends; one that another worker holds is passed over."""
    query = (
        select(Job)
        .where(Job.state == JobState.QUEUED, Job.run_at <= now, Job.kind.in_(kinds))
        .order_by(Job.run_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return session.scalars(query).one_or_none()


def due(session: Session, job_id: str, now: datetime) -> Job | None:
    """This job, held until the transaction ends; None when it is not due.

    It waits for whoever holds the row: a worker that is claiming it, or the control plane that has announced it just
    now and is writing that down. To pass over it would leave the job to the next announcement.
    """
    query = select(Job).where(Job.id == job_id, Job.state == JobState.QUEUED, Job.run_at <= now)
    return session.scalars(query.with_for_update()).one_or_none()


def unannounced(session: Session, now: datetime, announced_before: datetime, limit: int) -> Sequence[str]:
    """Ids of jobs that are due and that nobody was told of since they became due, or only before that moment."""
    query = (
        select(Job.id)
        .where(
            Job.state == JobState.QUEUED,
            Job.run_at <= now,
            Job.announced_at.is_(None) | (Job.announced_at < Job.run_at) | (Job.announced_at <= announced_before),
        )
        .order_by(Job.run_at, Job.id)
        .limit(limit)
    )
    return session.scalars(query).all()


def mark_announced(session: Session, job_ids: Sequence[str], now: datetime) -> None:
    session.execute(update(Job).where(Job.id.in_(job_ids)).values(announced_at=now))


def lock(session: Session, job_id: str) -> Job | None:
    """Held until the transaction ends."""
    return session.scalars(select(Job).where(Job.id == job_id).with_for_update()).one_or_none()


def get(session: Session, job_id: str) -> Job | None:
    return session.get(Job, job_id)


def newest(
    session: Session, state: JobState | None, kind: JobKind | None, before_id: str | None, limit: int
) -> Sequence[Job]:
    """The newest first; ids sort by the time they were made."""
    query = select(Job).order_by(Job.id.desc()).limit(limit)
    if state is not None:
        query = query.where(Job.state == state)
    if kind is not None:
        query = query.where(Job.kind == kind)
    if before_id is not None:
        query = query.where(Job.id < before_id)
    return session.scalars(query).all()


def counts(session: Session) -> dict[JobState, int]:
    found: dict[str, int] = dict(session.execute(select(Job.state, func.count()).group_by(Job.state)).all())
    return {state: found.get(state, 0) for state in JobState}


def dead_ids(session: Session) -> Sequence[str]:
    return session.scalars(select(Job.id).where(Job.state == JobState.DEAD).order_by(Job.id)).all()


def delete_done(session: Session, before: datetime) -> None:
    session.execute(delete(Job).where(Job.state == JobState.DONE, Job.run_at < before))
