"""Metrics for Prometheus. Labels are states, routes and names of the code; never a tenant, a login or a secret."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.limits.service import BUDGETS, Limits
from control_plane.stream.places import StreamPlaces
from control_plane.telemetry import repository
from control_plane.telemetry.readiness import Readiness

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_FRESH_SECONDS = 5.0
_PARTS = ("bus", "limits")
_CHECKS = ("database", "migrations", "loops", "outbox")
_log = structlog.get_logger(__name__)


class Metrics:
    """All metrics of one control plane process."""

    def __init__(
        self, database: Database, clock: Clock, readiness: Readiness, limits: Limits, places: StreamPlaces
    ) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "mt5farm_http_requests",
            "Requests answered.",
            ("app", "method", "route", "status"),
            registry=self._registry,
        )
        self.request_seconds = Histogram(
            "mt5farm_http_request_seconds",
            "Time to the last byte of an answer; the agents' syncs are route /agent/v1/sync.",
            ("app", "method", "route"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._registry.register(_Process(readiness))
        self._registry.register(_Callers(limits, places))
        self._registry.register(_Farm(database, clock))

    def exposition(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)


class _Process(Collector):
    """Of this process: each replica has its own."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def collect(self) -> Iterator[Metric]:
        verdict = self._readiness.verdict()
        problems = verdict.problems
        ready = GaugeMetricFamily("mt5farm_ready", "1 when the check of /readyz passes.", labels=["check"])
        for check in _CHECKS:
            ready.add_metric([check], 0 if check in problems else 1)
        yield ready
        degraded = GaugeMetricFamily("mt5farm_degraded", "1 while a part works by itself.", labels=["part"])
        for part in _PARTS:
            degraded.add_metric([part], 1 if part in verdict.warnings else 0)
        yield degraded
        now = time.monotonic()
        rounds = GaugeMetricFamily(
            "mt5farm_loop_round_age_seconds", "Since the last round that ended without an error.", labels=["loop"]
        )
        limit = GaugeMetricFamily("mt5farm_loop_limit_seconds", "A loop is late past this.", labels=["loop"])
        for each in self._readiness.rounds():
            rounds.add_metric([each.name], now - each.since)
            limit.add_metric([each.name], each.limit)
        yield rounds
        yield limit


class _Callers(Collector):
    """Of those who ask this process."""

    def __init__(self, limits: Limits, places: StreamPlaces) -> None:
        self._limits = limits
        self._places = places

    def collect(self) -> Iterator[Metric]:
        refused = CounterMetricFamily(
            "mt5farm_requests_refused", "Requests past a limit, by whose budget was at its end.", labels=["budget"]
        )
        for budget in BUDGETS:
            refused.add_metric([budget], self._limits.refused[budget])
        yield refused
        yield GaugeMetricFamily("mt5farm_streams_open", "Open streams of live updates.", value=self._places.taken)


class _Farm(Collector):
    """Of the whole farm, counted in its database: each replica shows the same, so take the maximum and not the sum."""

    def __init__(self, database: Database, clock: Clock, seconds: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._seconds = seconds
        self._counting = threading.Lock()
        self._counted_at = -_FRESH_SECONDS
        self._found: list[Metric] = []

    def describe(self) -> list[Metric]:
        return []  # nothing is asked of the database before the first scrape

    def collect(self) -> Iterator[Metric]:
        with self._counting:
            if self._seconds() - self._counted_at >= _FRESH_SECONDS:
                try:
                    self._found = self._count()
                except SQLAlchemyError as error:
                    # Without figures rather than with old ones; `mt5farm_ready` says why.
                    _log.warning("metrics_not_counted", error=type(error).__name__)
                    self._found = []
                self._counted_at = self._seconds()
            found = self._found
        yield from found

    def _count(self) -> list[Metric]:
        with self._database.read_as_system() as session:
            oldest = repository.oldest_due(session)
            waits = 0.0 if oldest is None else max(0.0, (self._clock.now() - oldest).total_seconds())
            return [
                _gauge("mt5farm_jobs", "Jobs of the outbox.", ("kind", "state"), repository.jobs(session)),
                _gauge("mt5farm_job_wait_seconds", "How long the oldest due job waits.", (), {(): waits}),
                _gauge("mt5farm_nodes", "Nodes.", ("state", "availability", "identity"), repository.nodes(session)),
                _gauge(
                    "mt5farm_nodes_awaited",
                    "Nodes that have not reported since a restore; nothing new is started meanwhile.",
                    (),
                    {(): float(repository.awaited_nodes(session))},
                ),
                _gauge("mt5farm_terminals", "Terminals by reported phase.", ("phase",), repository.terminals(session)),
                _gauge("mt5farm_orders_open", "Orders that are not settled.", ("state",), repository.orders(session)),
            ]


def _gauge(
    name: str, text: str, labels: Sequence[str], values: dict[tuple[str, ...], int] | dict[tuple[()], float]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family
