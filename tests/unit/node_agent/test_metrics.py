"""What a node shows to those who run it."""

from __future__ import annotations

import dataclasses
import re

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from node_agent.errors import ConfigurationError
from node_agent.figures import NodeFigures
from node_agent.metrics import NodeCollector, OperationsPort
from node_agent.protocol.messages import Phase
from tests.node_figures import FIGURES


def shown(figures: NodeFigures) -> dict[tuple[str, ...], float]:
    """By name of the sample and its labels' values."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(lambda: figures))
    return samples(generate_latest(registry).decode())


def samples(text: str) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(text)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def test_every_phase_is_shown_also_those_that_no_terminal_is_in() -> None:
    found = shown(FIGURES)
    phases = {phase: found["mt5farm_node_terminals", phase.value] for phase in Phase}
    assert {phase: count for phase, count in phases.items() if count} == {Phase.READY: 2, Phase.FAILED: 1}


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        (("mt5farm_node_exits_total", "terminal"), 5),
        (("mt5farm_node_spooled_events",), 40),
        (("mt5farm_node_spool_age_seconds",), 12.5),
        (("mt5farm_node_sync_age_seconds",), 3),
        (("mt5farm_node_lease_left_seconds",), 42),
        (("mt5farm_node_up", "gateway"), 1),
        (("mt5farm_node_up", "watchdog"), 0),
        (("mt5farm_node_pressure", "disk"), 1),
        (("mt5farm_node_pressure", "memory"), 0),
        (("mt5farm_gateway_sessions",), 3),
        (("mt5farm_gateway_refused_total", "ticket_used"), 2),
        (("mt5farm_gateway_ended_total", "stale_epoch"), 1),
        (("mt5farm_gateway_bytes_total", "out"), 9000),
        (("mt5farm_terminal_call_seconds_bucket", "0.001"), 10),
        (("mt5farm_terminal_call_seconds_bucket", "0.0025"), 15),
        (("mt5farm_terminal_call_seconds_bucket", "30.0"), 15),
        (("mt5farm_terminal_call_seconds_bucket", "+Inf"), 16),
        (("mt5farm_terminal_call_seconds_sum",), 31.5),
    ],
)
def test_a_figure_is_shown_as_it_is(sample: tuple[str, ...], value: float) -> None:
    assert shown(FIGURES)[sample] == value


def test_what_is_not_known_is_not_shown() -> None:
    """A zero would look like an answer."""
    unknown = dataclasses.replace(
        FIGURES, lease_left=None, spooled=None, spool_age=None, clock_offset=None, gateway=None
    )
    names = {name for name, *_ in shown(unknown)}
    assert not any(re.search("lease|spool|clock|gateway_", name) for name in names)


class TestThePort:
    def test_answers_with_fresh_figures_each_time(self) -> None:
        rising = iter(range(1, 10))
        port = OperationsPort("127.0.0.1", 0, lambda: dataclasses.replace(FIGURES, spooled=next(rising)))
        asked = [samples(httpx.get(f"http://{port.address}/metrics").text) for _ in range(2)]
        port.close()
        assert [each["mt5farm_node_spooled_events",] for each in asked] == [1, 2]

    def test_that_is_taken_is_said_in_a_sentence(self) -> None:
        port = OperationsPort("127.0.0.1", 0, lambda: FIGURES)
        with pytest.raises(ConfigurationError, match="cannot be listened on: Address already in use"):
            OperationsPort("127.0.0.1", int(port.address.rpartition(":")[2]), lambda: FIGURES)
        port.close()
