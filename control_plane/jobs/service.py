"""The outbox: written with the fact, carried out after it is committed."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.orm import Session

from control_plane.audit.service import Audit, Deed
from control_plane.clock import Clock
from control_plane.db.engine import after_commit
from control_plane.errors import ConflictError, NotFoundError
from control_plane.identity.model import Tenant
from control_plane.ids import new_id
from control_plane.jobs import repository
from control_plane.jobs.model import Job
from control_plane.jobs.state import JobKind, JobState
from control_plane.logs import present_request


class Outbox:
    """Puts jobs into the transaction of their fact; `wake` is called once they are committed."""

    def __init__(self, audit: Audit, clock: Clock, wake: Callable[[], None]) -> None:
        self._audit = audit
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
                request_id=present_request(),
                last_error="",
                created_at=now,
            )
        )
        after_commit(session, self._wake)

    def redrive(self, session: Session, operator: Tenant, job_id: str, actor: str, reason: str) -> Job:
        """Have a job that was given up tried again, 20 times more. Raises NotFoundError or ConflictError."""
        job = repository.lock(session, job_id)
        if job is None:
            raise NotFoundError("There is no such job.", code="job_not_found")
        if job.state != JobState.DEAD:
            raise ConflictError("The job has not been given up.", code="job_not_dead")
        job.state, job.attempts, job.run_at, job.announced_at = JobState.QUEUED, 0, self._clock.now(), None
        facts = {"kind": job.kind, "subject": job.subject_id, "last_error": job.last_error}
        self._audit.record(session, operator.id, Deed(actor, "redrive_job", job.id, reason, before=facts))
        after_commit(session, self._wake)
        return job
