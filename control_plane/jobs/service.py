"""The outbox: written with the fact, carried out after it is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

import structlog
from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.db.engine import Database, after_commit
from control_plane.ids import new_id
from control_plane.jobs import repository
from control_plane.jobs.model import Job
from control_plane.jobs.state import MOST_ATTEMPTS, JobKind, JobState, back_off

Handler = Callable[[str], None]
"""Carries out a job for the row with the given id. Must be idempotent: a job may run again after a crash."""

_CLAIM = timedelta(seconds=60)
_log = structlog.get_logger(__name__)


class Outbox:
    """Puts jobs into the transaction of their fact; `wake` is called once they are committed."""

    def __init__(self, clock: Clock, wake: Callable[[], None]) -> None:
        self._clock = clock
        self._wake = wake

    def put(self, session: Session, kind: JobKind, subject_id: str) -> None:
        now = self._clock.now()
        session.add(
            Job(
                id=new_id("job"),
                kind=kind,
                subject_id=subject_id,
                state=JobState.QUEUED,
                attempts=0,
                run_at=now,
                last_error="",
                created_at=now,
            )
        )
        after_commit(session, self._wake)


def run_next(database: Database, clock: Clock, handlers: Mapping[JobKind, Handler]) -> bool:
    """Carry out one due job. Returns whether there was one.

    The job is claimed by moving its due time, so that a worker that dies while it runs loses it to the next one.
    """
    with database.write_as_system() as session:
        job = repository.next_due(session, clock.now())
        if job is None:
            return False
        job.attempts += 1
        job.run_at = clock.now() + _CLAIM
    try:
        handlers[JobKind(job.kind)](job.subject_id)
    except Exception as error:  # noqa: BLE001 - whatever a job raises is written into its row and tried again
        _log.warning("job_failed", job=job.id, kind=job.kind, attempts=job.attempts, error=type(error).__name__)
        _finish(database, clock, job.id, type(error).__name__)
    else:
        _finish(database, clock, job.id, "")
    return True


def _finish(database: Database, clock: Clock, job_id: str, error: str) -> None:
    with database.write_as_system() as session:
        job = repository.get(session, job_id)
        if job is None:
            return
        job.last_error = error
        if not error:
            job.state = JobState.DONE
        elif job.attempts >= MOST_ATTEMPTS:
            job.state = JobState.DEAD
        else:
            job.run_at = clock.now() + back_off(job.attempts)
