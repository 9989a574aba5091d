"""The agent as a process: what it shows on its operations port is what happens on the node."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from node_agent.config import load_config, save_config
from tests.integration.node_agent.agent_node import AgentNode
from tests.integration.node_agent.control_plane_stand_in import ControlPlaneStandIn, wait_until
from tests.integration.node_agent.test_gateway import open_session, refusal, ticket

PATIENCE = 30.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[AgentNode]:
    plane = ControlPlaneStandIn(tmp_path)
    node = AgentNode(plane)
    config = load_config(node.layout.config)
    save_config(node.layout.config, config.model_copy(update={"operations_port": 0}))
    try:
        yield node
    finally:
        node.clean_up()
        plane.close()


def scrape(node: AgentNode) -> dict[tuple[str, ...], float]:
    """By name of the sample and its labels' values; empty before the port is open."""
    said = re.findall(r'"address": "(127\.0\.0\.1:\d+)", "event": "operations_port"', node.log.read_text())
    if not said:
        return {}
    text = httpx.get(f"http://{said[-1]}/metrics").text
    families = text_string_to_metric_families(text)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def test_what_happens_on_the_node_is_shown(node: AgentNode) -> None:
    node.plane.want(node.desired(1))
    node.start()
    node.wait_phase(1, "ready", PATIENCE)
    wait_until(
        lambda: scrape(node).get(("mt5farm_node_terminals", "ready")) == 1, PATIENCE, "a ready terminal is shown"
    )
    wait_until(node.layout.gateway_files.ready.exists, PATIENCE, "the gateway listens")
    first = scrape(node)
    assert first["mt5farm_node_lease_left_seconds",] > 0
    assert first["mt5farm_node_exits_total", "terminal"] == 0
    with open_session(node, ticket(node)) as terminal:
        assert terminal.account_info() is not None
        wait_until(lambda: scrape(node).get(("mt5farm_gateway_sessions",)) == 1, PATIENCE, "the session is shown")
        assert scrape(node)["mt5farm_gateway_bytes_total", "in"] > 0
    assert refusal(node, "forged") == "ticket_invalid"
    wait_until(
        lambda: scrape(node).get(("mt5farm_gateway_refused_total", "ticket_invalid")) == 1, PATIENCE, "the refusal"
    )
    wait_until(lambda: scrape(node)["mt5farm_terminal_call_seconds_count",] > 3, PATIENCE, "calls are timed")
    os.kill(node.processes_of(1)["terminal"], signal.SIGKILL)
    wait_until(lambda: scrape(node)["mt5farm_node_exits_total", "terminal"] == 1, PATIENCE, "the death is counted")
    node.wait_phase(1, "ready", PATIENCE)
    assert node.end() == 0
