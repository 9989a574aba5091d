"""A whole agent with real containers: a wish of the control plane becomes a terminal, and is spoken of truthfully.

Docker, Wine, the Windows Python and the official package are real; terminal64.exe is a stand-in that opens no link for
programs, so the terminal never gets beyond its start.
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from node_agent.protocol.messages import ObservedTerminal
from node_agent.runtimes.wine_container import NODE_LABEL
from tests.conformance.runtimes.drivers import Template, container_settings, pack_template
from tests.integration.node_agent.agent_node import AgentNode, gone, terminal_id
from tests.integration.node_agent.control_plane_stand_in import ControlPlaneStandIn, wait_until

TIMING = {
    "tick": 0.1,
    "probe": 0.3,
    "sync_floor": 0.1,
    "stop_grace": 3.0,
    "launch_grace": 3.0,
    "terminal_restart": {"settled": 5.0, "base": 0.5, "cap": 2.0, "window": 60.0, "limit": 5},
    "worker_restart": {"settled": 5.0, "base": 0.3, "cap": 2.0, "window": 60.0, "limit": 9},
}


@dataclass(frozen=True)
class ContainerNode:
    agent: AgentNode
    template: Template

    def want(self, number: int, running: bool = True, password: str = "right") -> None:
        wish = self.agent.desired(
            number,
            password,
            runtime="wine_container",
            running=running,
            template=self.template.ref,
            server_address=None,
        )
        self.agent.plane.put(wish)

    def wait(self, number: int, phase: str, reason: str | None, seconds: float = 60.0) -> ObservedTerminal:
        def there() -> ObservedTerminal | None:
            seen = self.agent.observed(number)
            return seen if seen is not None and (seen.phase, seen.reason) == (phase, reason) else None

        try:
            found: ObservedTerminal = wait_until(there, seconds, f"terminal {number} is {phase} ({reason})")
        except AssertionError as error:
            log = self.agent.log.read_text()[-4000:]
            raise AssertionError(f"{error}; it is {self.agent.observed(number)}\n{log}") from error
        return found

    def order(self, number: int, name: str) -> None:
        files = self.agent.layout.terminal(terminal_id(number)).folder / "MQL5" / "Files"
        files.mkdir(exist_ok=True)
        (files / name).touch()
        if os.geteuid() == 0:
            for path in (files, files / name):
                os.chown(path, 10001, 10001)


@pytest.fixture(scope="module")
def node(image: str, stand_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerNode]:
    template = pack_template(tmp_path_factory.mktemp("template"), stand_in)
    plane = ControlPlaneStandIn(tmp_path_factory.mktemp("plane"))
    plane.templates[template.ref.sha256] = template.archive.read_bytes()
    agent = AgentNode(plane, TIMING, "node_agent.cli", wine_container=container_settings(image))
    agent.start()
    try:
        yield ContainerNode(agent, template)
    finally:
        agent.clean_up()
        plane.close()
        _remove_containers(agent)


def _remove_containers(agent: AgentNode) -> None:
    client = docker.from_env()
    # Its own alone: other files of tests may run beside this one.
    own = {"label": f"{NODE_LABEL}={hashlib.sha256(str(agent.layout.root).encode()).hexdigest()[:8]}"}
    for container in client.containers.list(all=True, filters=own):
        container.remove(force=True)
    for network in client.networks.list(filters=own):
        network.remove()
    client.close()


def test_a_wish_becomes_a_terminal_that_never_pretends_to_be_ready(node: ContainerNode) -> None:
    enrolment = node.agent.plane.seen.enrolment
    assert enrolment is not None
    assert enrolment.runtimes == ["simulated", "wine_container"]
    node.want(1)
    seen = node.wait(1, "degraded", "ipc_timeout")
    assert seen.terminal_pid
    assert seen.account is None
    # A slow machine takes longer for the bridge than the terminal is given here to answer.
    wait_until(lambda: "worker" in node.agent.processes_of(1), 90, "its bridge is there")
    log = node.agent.layout.terminal(terminal_id(1)).folder / "logs" / "stand_in.log"
    started = "login=1001 server=Stub-Demo enabled=1 live=1 password=5:"
    wait_until(lambda: log.exists() and started in log.read_text(), 90, "the terminal has read its start-up file")
    assert [sync.report.templates for sync in node.agent.plane.seen.syncs][-1] == [node.template.ref.sha256]
    bridge = node.agent.layout.terminal(terminal_id(1)).logs / "bridge.log"
    wait_until(lambda: "runs MetaTrader5 5.0." in bridge.read_text(), 90, "the official package is there")
    # It waits longer for a silent program than it should; the worker ends that and says what the package would.
    wait_until(lambda: "no link to the terminal: -10003" in bridge.read_text(), 90, "it has given up")
    syncs = len(node.agent.plane.seen.syncs)
    wait_until(lambda: len(node.agent.plane.seen.syncs) > syncs + 2, 20, "the agent has reported that")
    node.wait(1, "degraded", "ipc_timeout", 1.0)


def test_the_next_agent_finds_terminal_and_worker_as_they_are(node: ContainerNode) -> None:
    before = node.agent.processes_of(1)
    assert set(before) == {"terminal", "worker"}
    node.agent.end(signal.SIGKILL)
    node.agent.start()
    syncs = len(node.agent.plane.seen.syncs)
    wait_until(lambda: len(node.agent.plane.seen.syncs) > syncs + 2, 20, "the new agent reports")
    assert node.agent.processes_of(1) == before


def test_a_wedged_worker_goes_alone(node: ContainerNode) -> None:
    before = node.agent.processes_of(1)
    os.kill(before["worker"], signal.SIGKILL)
    wait_until(lambda: node.agent.processes_of(1).get("worker") not in {None, before["worker"]}, 20, "a new worker")
    assert node.agent.processes_of(1)["terminal"] == before["terminal"]


def test_a_terminal_that_runs_out_of_memory_says_so_and_comes_back(node: ContainerNode) -> None:
    before = node.agent.processes_of(1)
    node.order(1, "grow")
    syncs = node.agent.plane.seen.syncs
    wait_until(lambda: "out_of_memory" in {each.reason for sync in syncs for each in sync.terminals}, 60, "it is told")
    (node.agent.layout.terminal(terminal_id(1)).folder / "MQL5" / "Files" / "grow").unlink()
    wait_until(lambda: node.agent.processes_of(1).get("terminal") not in {None, before["terminal"]}, 30, "a new one")


def test_a_template_that_is_not_what_it_should_be_is_refused(node: ContainerNode) -> None:
    broken = node.template.ref.model_copy(update={"sha256": "0" * 64})
    node.agent.plane.templates["0" * 64] = node.agent.plane.templates[node.template.ref.sha256]
    wish = node.agent.desired(2, runtime="wine_container", template=broken, server_address=None)
    node.agent.plane.put(wish)
    seen = node.wait(2, "backing_off", "template_broken")
    assert "not the one that was asked for" in seen.detail
    node.agent.plane.drop(terminal_id(2))


def test_a_stopped_one_is_gone_and_a_dropped_one_leaves_nothing(node: ContainerNode) -> None:
    before = node.agent.processes_of(1)
    node.want(1, running=False)
    node.wait(1, "stopped", None)
    assert all(gone(pid) for pid in before.values())
    node.agent.plane.drop(terminal_id(1))
    root = node.agent.layout.terminal(terminal_id(1)).root
    wait_until(lambda: not root.exists(), 20, "its folder is gone")
    client = docker.from_env()
    assert client.containers.list(all=True, filters={"label": f"org.mt5farm.terminal={terminal_id(1)}"}) == []
    client.close()
