"""Nodes and control planes for the agent's tests; every process is gone when a test ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.node_agent.agent_node import AgentNode
from tests.integration.node_agent.control_plane_stand_in import ControlPlaneStandIn


@pytest.fixture
def node(tmp_path: Path) -> Iterator[AgentNode]:
    """A node of its own, whose agent is not running yet."""
    yield from _node(tmp_path)


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentNode]:
    """A running node for tests that take a terminal number of their own and leave the agent alone."""
    for made in _node(tmp_path_factory.mktemp("plane")):
        made.start()
        yield made


def _node(folder: Path) -> Iterator[AgentNode]:
    plane = ControlPlaneStandIn(folder)
    made = AgentNode(plane)
    try:
        yield made
    finally:
        made.clean_up()
        plane.close()
