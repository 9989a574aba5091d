"""What the agent itself costs while N terminals run: processor time and memory of the agent's process alone.

The terminals are stubs (a sleeping process and the real bridge worker on a terminal that is no process), so that a
machine of 2 cores can hold 100; what the agent does for each is the same as for a real one.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from node_agent.config import Timing
from tests.integration.node_agent.agent_node import AgentNode
from tests.integration.node_agent.control_plane_stand_in import ControlPlaneStandIn, wait_until

STUBS = Path(__file__).parent / "stubs"
START_SECONDS = 600.0
SYNC_SECONDS = 10.0
WATCH_SECONDS = 25.0
"""As the control plane does."""


@dataclass(frozen=True)
class Cost:
    terminals: int
    seconds: float
    cpu_share: float
    """Of one core."""
    memory: int
    """Bytes resident."""
    threads: int


def measure(terminals: int, seconds: float) -> Cost:
    """Start a node with so many terminals, let it settle, and watch the agent for `seconds`."""
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as folder:
        plane = ControlPlaneStandIn(Path(folder))
        plane.sync_seconds, plane.watch_seconds = SYNC_SECONDS, WATCH_SECONDS
        node = AgentNode(plane, Timing().model_dump(), "idle_agent", STUBS)
        try:
            return _measure(node, terminals, seconds)
        finally:
            node.clean_up()
            plane.close()


def _measure(node: AgentNode, terminals: int, seconds: float) -> Cost:
    node.plane.fence_seconds = 240.0
    node.plane.want(*(node.desired(number, lease_policy="self_fence") for number in range(1, terminals + 1)))
    node.start()
    wait_until(lambda: _ready(node) == terminals, START_SECONDS, f"{terminals} terminals are ready")
    assert node.agent is not None
    agent = psutil.Process(node.agent.pid)
    time.sleep(5)
    begun, before = time.monotonic(), agent.cpu_times()
    time.sleep(seconds)
    after, took = agent.cpu_times(), time.monotonic() - begun
    used = after.user + after.system - before.user - before.system
    return Cost(terminals, took, used / took, agent.memory_info().rss, agent.num_threads())


def _ready(node: AgentNode) -> int:
    syncs = node.plane.seen.syncs
    return sum(each.phase == "ready" for each in syncs[-1].terminals) if syncs else 0
