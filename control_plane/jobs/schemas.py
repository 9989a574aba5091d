"""Bodies of jobs, as operators see them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from control_plane.jobs.state import JobKind, JobState


class JobOut(BaseModel):
    id: str
    kind: JobKind
    subject_id: str
    """The row that the job is about."""
    state: JobState
    attempts: int
    run_at: datetime
    """When it is tried next, or was tried last."""
    request_id: str
    """Of the request that has set it off, as the logs have it; empty when the farm itself has."""
    last_error: str
    created_at: datetime


class JobCounts(BaseModel):
    queued: int
    done: int
    """Those of the last seven days."""
    dead: int
    """Given up after 20 attempts; somebody has to look at them."""
