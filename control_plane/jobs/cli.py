"""`mt5farm jobs ...` and `mt5farm worker`: look after the outbox, and carry its jobs out."""

from __future__ import annotations

from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.table import Table

from control_plane.errors import ConfigurationError
from control_plane.fleet.commands import this_person
from control_plane.jobs import repository
from control_plane.jobs.state import JobState
from control_plane.logs import configure_logs
from control_plane.opening import Data, open_farm

jobs = typer.Typer(help="Slow effects: what waits, what failed, what was given up.", no_args_is_help=True)
_log = structlog.get_logger(__name__)


@jobs.command("list")
def list_jobs(
    data: Data,
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
) -> None:
    """The newest jobs, and how many there are in each state."""
    farm = open_farm(data)
    with farm.database.read_as_system() as session:
        rows, counts = repository.newest(session, state, None, None, limit), repository.counts(session)
    farm.stop()
    table = Table("job", "kind", "about", "state", "attempts", "next or last try", "last error")
    for row in rows:
        when = row.run_at.isoformat(sep=" ", timespec="seconds")
        table.add_row(row.id, row.kind, row.subject_id, row.state, str(row.attempts), when, row.last_error or "-")
    Console().print(table)
    print(", ".join(f"{count} {each}" for each, count in counts.items()))


@jobs.command("redrive")
def redrive(
    data: Data,
    reason: Annotated[str, typer.Option("--reason", help="Kept in the audit trail.")],
    job: Annotated[
        list[str] | None, typer.Argument(help="Ids of jobs that were given up; all of them if none.")
    ] = None,
) -> None:
    """Have jobs that were given up tried again, 20 times more each."""
    farm = open_farm(data)
    with farm.database.write_as_system() as session:
        tenant = farm.identity.bootstrap(session)
        chosen = job or repository.dead_ids(session)
        for each in chosen:
            farm.outbox.redrive(session, tenant, each, this_person(), reason)
    farm.stop()
    print(f"{len(chosen)} jobs are tried again")


def work(
    data: Data,
    threads: Annotated[int, typer.Option(min=1, max=64, help="How many jobs at once.")] = 4,
) -> None:
    """Carry out jobs that the control planes hand out through Redis (MT5FARM_REDIS_URL), until told to stop."""
    configure_logs()
    farm = open_farm(data)
    if farm.settings.redis_url is None:
        farm.stop()
        raise ConfigurationError("a worker needs the Redis of its control planes: set MT5FARM_REDIS_URL")
    from control_plane.jobs.celery import celery_app, run_worker, serve_jobs

    app = celery_app(farm.settings.redis_url)
    serve_jobs(app, farm.job_runner.run)
    try:
        run_worker(app, threads, lambda: _log.info("ready", threads=threads))
    finally:
        farm.stop()
