"""Carries out one job, in whichever process: takes it, runs it, and writes down how it went."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import structlog
from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.jobs import repository
from control_plane.jobs.model import Job
from control_plane.jobs.state import CLAIM, MOST_ATTEMPTS, JobKind, JobState, back_off

Handler = Callable[[str], None]
"""Carries out a job for the row with the given id. Must be idempotent: a job may run again after a crash."""

_log = structlog.get_logger(__name__)


class JobRunner:
    def __init__(self, database: Database, clock: Clock, handlers: Mapping[JobKind, Handler]) -> None:
        self._database = database
        self._clock = clock
        self._handlers = handlers

    def run_next(self, kinds: Collection[JobKind] = tuple(JobKind)) -> bool:
        """Carry out the job of these kinds that is due longest. Returns whether there was one."""
        return self._run(lambda session: repository.next_due(session, self._clock.now(), kinds))

    def run(self, job_id: str) -> bool:
        """Carry out this job if it is due. A second message about the same job does nothing."""
        return self._run(lambda session: repository.due(session, job_id, self._clock.now()))

    def _run(self, take: Callable[[Session], Job | None]) -> bool:
        """The job is claimed by moving its due time, so that a worker that dies while it runs loses it to the next."""
        with self._database.write_as_system() as session:
            job = take(session)
            if job is None:
                return False
            job.attempts += 1
            job.run_at = self._clock.now() + CLAIM
        # What is logged meanwhile has the id of the request that has set the job off.
        with structlog.contextvars.bound_contextvars(request_id=job.request_id):
            try:
                self._handlers[JobKind(job.kind)](job.subject_id)
            except Exception as error:  # noqa: BLE001 - whatever a job raises is written into its row and tried again
                _log.warning("job_failed", job=job.id, kind=job.kind, attempts=job.attempts, error=type(error).__name__)
                self._finish(job, type(error).__name__)
            else:
                _log.info("job_done", job=job.id, kind=job.kind, subject=job.subject_id)
                self._finish(job, "")
        return True

    def _finish(self, taken: Job, error: str) -> None:
        with self._database.write_as_system() as session:
            job = repository.lock(session, taken.id)
            if job is None or (job.state, job.attempts) != (JobState.QUEUED, taken.attempts):
                return  # it took longer than its claim, and what another worker does with it counts
            job.last_error = error
            if not error:
                job.state = JobState.DONE
            elif job.attempts >= MOST_ATTEMPTS:
                job.state = JobState.DEAD
                _log.error("job_given_up", job=job.id, kind=job.kind, subject=job.subject_id, error=error)
            else:
                job.run_at = self._clock.now() + back_off(job.attempts)
