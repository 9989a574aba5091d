"""A node that is short of something holds back, and takes memory back from terminals that have grown."""

from __future__ import annotations

from node_agent.config import Bounds
from node_agent.pressure import Reserves
from node_agent.recycling import RecyclePolicy
from tests.integration.node_agent.agent_node import AgentNode
from tests.integration.node_agent.control_plane_stand_in import wait_until

EVERYTHING = 10**18


def test_a_node_without_room_starts_nothing_and_says_why(node: AgentNode) -> None:
    node.bound(Bounds(reserves=Reserves(disk=EVERYTHING)))
    node.plane.want(node.desired(1))
    node.start()
    seen = node.wait_phase(1, "backing_off")
    assert seen.reason == "disk_full"
    assert node.processes_of(1) == {}
    assert node.plane.seen.syncs[-1].report.pressure == ["disk"]


def test_a_grown_terminal_is_started_anew_while_it_is_flat_and_everything_comes_back(node: AgentNode) -> None:
    always = RecyclePolicy(
        growth=0.5, least=0, ceiling=0, young=0.0, read_every=0.5, node_pause=6.0, terminal_pause=0.0
    )
    node.bound(Bounds(recycle=always))
    node.plane.want(node.desired(1, bots=[node.bot(1)]))
    node.start()
    node.wait_phase(1, "ready")
    node.wait_bot(1, 1, "running")
    before = wait_until(lambda: len(found := node.processes_of(1)) == 3 and found, 10, "everything runs")
    wait_until(
        lambda: node.processes_of(1).get("terminal", 0) not in {0, before["terminal"]}, 20, "another terminal process"
    )
    seen = node.wait_phase(1, "ready")
    assert seen.restarts == 0, f"it was no crash\n{node.log.read_text()[-4000:]}"
    assert seen.flat is True
    wait_until(lambda: node.wait_bot(1, 1, "running") not in {0, before["bot"]}, 10, "the bot is back")
    assert node.processes_of(1)["worker"] == before["worker"]
