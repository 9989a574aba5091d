"""Hands due jobs to Celery workers through Redis. A message holds a job's id and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.jobs import repository
from control_plane.jobs.state import ANNOUNCED_AGAIN_AFTER

_TASK = "mt5farm.run_job"
_QUEUE = "mt5farm"
_AT_ONCE = 500
_PATIENCE_SECONDS = 5
_log = structlog.get_logger(__name__)


def celery_app(redis_url: str) -> Celery:
    """Results are not kept, and a message that nobody took in time is thrown away: the row is announced anew."""
    app = Celery("mt5farm", broker=redis_url, set_as_current=False)
    app.conf.update(
        task_default_queue=_QUEUE,
        task_ignore_result=True,
        task_publish_retry=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": _PATIENCE_SECONDS,
            "socket_connect_timeout": _PATIENCE_SECONDS,
            "health_check_interval": 15,
            "max_retries": 0,
        },
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
    )
    return app


class CeleryExecutor:
    """Announces every due job, and once more when nothing has become of it: the queue may be wiped at any time."""

    def __init__(self, app: Celery, database: Database, clock: Clock) -> None:
        self._app = app
        self._database = database
        self._clock = clock

    def work(self) -> None:
        now = self._clock.now()
        with self._database.read_as_system() as session:
            waiting = repository.unannounced(session, now, now - ANNOUNCED_AGAIN_AFTER, _AT_ONCE)
        told: list[str] = []
        try:
            for job_id in waiting:
                expires = ANNOUNCED_AGAIN_AFTER.total_seconds()
                self._app.send_task(_TASK, args=[job_id], queue=_QUEUE, expires=expires, retry=False)
                told.append(job_id)
        except (OperationalError, OSError) as error:
            _log.warning("queue_unreachable", jobs=len(waiting) - len(told), error=type(error).__name__)
        if told:
            with self._database.write_as_system() as session:
                repository.mark_announced(session, told, now)


def serve_jobs(app: Celery, run: Callable[[str], object]) -> None:
    """Let workers of this application carry jobs out; `run` is called with the id of each, in any thread."""

    def run_job(job_id: str) -> None:
        run(job_id)

    app.task(run_job, name=_TASK, shared=False)


def run_worker(app: Celery, threads: int, on_ready: Callable[[], None]) -> None:
    """Blocks until SIGTERM or SIGINT; jobs that were begun are ended first."""
    from celery.signals import worker_ready

    worker_ready.connect(lambda **_: on_ready(), weak=False)
    app.Worker(
        pool="threads", concurrency=threads, loglevel="WARNING", without_gossip=True, without_mingle=True
    ).start()
