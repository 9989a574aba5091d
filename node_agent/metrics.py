"""The node's figures for Prometheus, on a port of their own. No label names an account, a login or a user."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from mt5_bridge.call_times import BOUNDS
from node_agent.call_times import Times
from node_agent.errors import ConfigurationError
from node_agent.figures import NodeFigures
from node_agent.gateway.figures import GatewayFigures

_PRESSURES = ("memory", "disk", "cpu", "clock")
_log = structlog.get_logger(__name__)


class NodeCollector(Collector):
    """Asks for fresh figures at each scrape; they cost the agent's loop well under a millisecond."""

    def __init__(self, figures: Callable[[], NodeFigures]) -> None:
        self._figures = figures

    def describe(self) -> list[Metric]:
        return []  # nothing is asked before the first scrape

    def collect(self) -> Iterator[Metric]:
        found = self._figures()
        yield from _of_terminals(found)
        yield from _of_link(found)
        yield from _of_machine(found)
        yield _histogram(found.calls)
        if found.gateway is not None:
            yield from _of_gateway(found.gateway)


def _of_terminals(found: NodeFigures) -> Iterator[Metric]:
    yield _family(
        GaugeMetricFamily("mt5farm_node_terminals", "Terminals by phase.", labels=["phase"]),
        {phase.value: count for phase, count in found.phases.items()},
    )
    yield _family(
        CounterMetricFamily("mt5farm_node_exits", "Processes that ended by themselves, by role.", labels=["role"]),
        found.exits,
    )


def _of_link(found: NodeFigures) -> Iterator[Metric]:
    yield from _known("mt5farm_node_spooled_events", "Events that wait for the control plane.", found.spooled)
    yield from _known("mt5farm_node_spool_age_seconds", "Age of the oldest event that waits.", found.spool_age)
    yield from _known("mt5farm_node_sync_age_seconds", "Since the last sync that was answered.", found.sync_age)
    yield from _known("mt5farm_node_lease_left_seconds", "Until the node counts as silent.", found.lease_left)
    yield from _known(
        "mt5farm_node_clock_offset_seconds", "Of this clock from the control plane's.", found.clock_offset
    )


def _of_machine(found: NodeFigures) -> Iterator[Metric]:
    up = {"gateway": found.gateway_up, "watchdog": found.watchdog_up}
    yield _family(
        GaugeMetricFamily("mt5farm_node_up", "1 while this part of the node works.", labels=["part"]),
        {part: int(works) for part, works in up.items()},
    )
    yield _family(
        GaugeMetricFamily("mt5farm_node_pressure", "1 while the node is short of it.", labels=["of"]),
        {each: int(each in found.short_of) for each in sorted({*_PRESSURES, *found.short_of})},
    )
    yield from _known("mt5farm_node_memory_available_bytes", "Memory of the machine.", found.memory_available)
    yield from _known("mt5farm_node_disk_free_bytes", "Room where the node keeps its data.", found.disk_free)
    yield from _known("mt5farm_node_load", "Load of the last minute for each processor.", found.load)


def _of_gateway(found: GatewayFigures) -> Iterator[Metric]:
    yield from _known("mt5farm_gateway_sessions", "Open sessions.", found.sessions)
    yield from _known("mt5farm_gateway_strangers", "Connections without a redeemed ticket.", found.strangers)
    counters: tuple[tuple[str, str, int], ...] = (
        ("mt5farm_gateway_sessions_opened", "Sessions opened.", found.opened),
        ("mt5farm_gateway_turned_away", "Connections for which there was no room.", found.turned_away),
    )
    for name, text, value in counters:
        yield CounterMetricFamily(name, text, value=value)
    yield _family(
        CounterMetricFamily("mt5farm_gateway_refused", "Sessions refused, by code.", labels=["code"]), found.refused
    )
    yield _family(
        CounterMetricFamily("mt5farm_gateway_ended", "Sessions the gateway ended, by reason.", labels=["reason"]),
        found.ended,
    )
    yield _family(
        CounterMetricFamily("mt5farm_gateway_bytes", "Bytes carried.", labels=["direction"]),
        {"in": found.bytes_in, "out": found.bytes_out},
    )


def _histogram(times: Times) -> Metric:
    bounds = [*(str(bound) for bound in BOUNDS), "+Inf"]
    family = HistogramMetricFamily("mt5farm_terminal_call_seconds", "Time of calls inside the terminals of the node.")
    family.add_metric([], list(zip(bounds, map(float, accumulate(times.counts)), strict=True)), times.seconds)
    return family


def _known(name: str, text: str, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(name, text, value=value)


def _family(family: Any, values: Any) -> Any:
    for label, value in values.items():
        family.add_metric([label], value)
    return family


class OperationsPort:
    """`/metrics` for those who run the node. It asks nobody who they are: not for the open network."""

    def __init__(self, host: str, port: int, figures: Callable[[], NodeFigures]) -> None:
        """Raises ConfigurationError when the port is taken."""
        registry = CollectorRegistry()
        registry.register(NodeCollector(figures))
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise ConfigurationError(
                f"the operations port {host}:{port} cannot be listened on: {error.strerror or error}"
            ) from error
        self.address = f"{host}:{self._server.server_port}"
        _log.info("operations_port", address=self.address)

    def close(self) -> None:
        """Scrapes under way end by themselves; the caller may be who they wait for."""
        threading.Thread(target=self._end, name="operations-end", daemon=True).start()

    def _end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
