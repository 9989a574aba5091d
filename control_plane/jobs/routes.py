"""HTTP of jobs, for operators."""

from __future__ import annotations

from fastapi import APIRouter

from control_plane.api_route import ApiRoute
from control_plane.errors import NotFoundError
from control_plane.fleet.schemas import Because
from control_plane.http import FarmDep, OperatorDep
from control_plane.jobs import repository
from control_plane.jobs.schemas import JobCounts, JobOut
from control_plane.jobs.state import JobKind, JobState
from control_plane.paging import Cursor, Limit, Page, decode_cursor, encode_cursor, split_page
from control_plane.problems import problem_responses

router = APIRouter(tags=["jobs"], prefix="/jobs", route_class=ApiRoute)


@router.get("", responses=problem_responses(401, 403, 422))
def list_jobs(
    farm: FarmDep,
    _operator: OperatorDep,
    state: JobState | None = None,
    kind: JobKind | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[JobOut]:
    """The newest first. Jobs that are done are kept for seven days, those that were given up for good."""
    keys = decode_cursor(cursor, str)
    with farm.database.read_as_system() as session:
        rows = repository.newest(session, state, kind, keys[0] if keys else None, limit + 1)
    page, last = split_page(rows, limit)
    items = [JobOut.model_validate(row, from_attributes=True) for row in page]
    return Page(items=items, next_cursor=encode_cursor(last.id) if last else None)


@router.get("/counts", responses=problem_responses(401, 403))
def count_jobs(farm: FarmDep, _operator: OperatorDep) -> JobCounts:
    with farm.database.read_as_system() as session:
        counts = repository.counts(session)
    return JobCounts(**{state.value: count for state, count in counts.items()})


@router.get("/{job_id}", responses=problem_responses(401, 403, 404))
def get_job(job_id: str, farm: FarmDep, _operator: OperatorDep) -> JobOut:
    with farm.database.read_as_system() as session:
        row = repository.get(session, job_id)
    if row is None:
        raise NotFoundError("There is no such job.", code="job_not_found")
    return JobOut.model_validate(row, from_attributes=True)


@router.post("/{job_id}/redrive", status_code=202, responses=problem_responses(401, 403, 404, 409, 415, 422))
def redrive_job(job_id: str, because: Because, farm: FarmDep, operator: OperatorDep) -> JobOut:
    """Have a job that was given up tried again."""
    with farm.database.write_as_system() as session:
        tenant = farm.identity.bootstrap(session)
        row = farm.outbox.redrive(session, tenant, job_id, operator, because.reason)
    return JobOut.model_validate(row, from_attributes=True)
