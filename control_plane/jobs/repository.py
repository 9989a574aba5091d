"""All SQL of the outbox."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from control_plane.jobs.model import Job
from control_plane.jobs.state import JobState


def next_due(session: Session, now: datetime) -> Job | None:
    """The job that is due longest, held until the transaction ends; one that another worker holds is passed over."""
    query = (
        select(Job)
        .where(Job.state == JobState.QUEUED, Job.run_at <= now)
        .order_by(Job.run_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return session.scalars(query).one_or_none()


def get(session: Session, job_id: str) -> Job | None:
    return session.get(Job, job_id)


def delete_done(session: Session, before: datetime) -> None:
    session.execute(delete(Job).where(Job.state == JobState.DONE, Job.run_at < before))
