"""Nodes that talk to a control plane process over TLS: one is lost and relieved, one is drained, one has a copy."""

from __future__ import annotations

import copy
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from node_agent.protocol.messages import ENROLL_PATH, PROTOCOL_VERSION, SYNC_PATH, EnrollResponse
from tests.deployments import Deployment
from tests.integration.control_plane.test_serving import (
    PATIENCE,
    Served,
    add_user,
    answers,
    command,
    enrolment,
    run,
)
from tests.ports import free_ports
from tests.unit.control_plane.world import JSON, SERVER, NodePlayer, report

SHORT = {
    "MT5FARM_SYNC_SECONDS": "0.5",
    "MT5FARM_LEASE_SECONDS": "2",
    "MT5FARM_LOST_AFTER_SECONDS": "5",
    "MT5FARM_FENCE_SECONDS": "1",
}
LONG_ENOUGH = 60.0
pytestmark = [pytest.mark.both_databases, pytest.mark.timeout(300)]


class RemoteNode(NodePlayer):
    """The same player, against a process."""

    def __init__(self, served: Served) -> None:
        invitation = enrolment(served)
        self.http = httpx.Client(
            base_url=invitation["url"], verify=ssl.create_default_context(cadata=invitation["ca_pem"]), timeout=PATIENCE
        )
        self.identity, self.sealing = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
        self.token = invitation["token"]
        response = self.http.post(ENROLL_PATH, content=self.enroll_request().model_dump_json(), headers=JSON)
        self.welcome = EnrollResponse.model_validate_json(response.content)
        self.node_id = self.welcome.node_id
        self.boot_id, self.sequence, self.generation = "boot-1", 0, 0
        self.protocol, self.continuity, self.clock_ahead, self.gateway_csr = PROTOCOL_VERSION, "", 0.0, ""
        self.report = report(watchdog_up=True)
        self.desired = []


@dataclass
class Farm:
    served: Served
    http: httpx.Client

    def call(self, method: str, path: str, status: int, body: dict[str, Any] | None = None) -> Any:
        response = self.http.request(method, f"/api/v1{path}", json=body)
        assert response.status_code == status, response.text
        return response.json() if response.content else None


@contextmanager
def running_farm(folder: Path) -> Iterator[Farm]:
    """A control plane process with short leases, a broker server, and somebody of the operator's team."""
    port, agent_port, data = free_ports(1), free_ports(1), folder / "data"
    arguments = ["serve", "--data", str(data), "--port", str(port), "--agent-port", str(agent_port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command(*arguments), stdout=log, stderr=log, text=True, env=os.environ | SHORT)
    served = Served(process, data, f"http://127.0.0.1:{port}", agent_port)
    try:
        until(lambda: answers(served.url))
        server = ["--name", SERVER, "--company", "C", "--simulated-address", "127.0.0.1:1"]
        run("broker-server", "add", "--data", data, *server)
        with httpx.Client(base_url=served.url, headers={"Origin": served.url}, timeout=PATIENCE) as http:
            farm = Farm(served, http)
            farm.call("POST", "/auth/sign-in", 200, add_user(data, "ops@example.com", "ops"))
            totp = pyotp.TOTP(farm.call("POST", "/auth/second-factor/totp", 201)["secret"])
            farm.call("POST", "/auth/second-factor/totp/confirm", 200, {"code": totp.now()})
            yield farm
    finally:
        process.kill()
        process.wait(PATIENCE)


@pytest.fixture
def farm(tmp_path: Path, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    """Its placements find their way also where no worker takes the jobs: there is a loop for that."""
    for name, value in deployment.environment.items():
        monkeypatch.setenv(name, value)
    with running_farm(tmp_path) as farm:
        yield farm


def until(condition: Callable[[], object], seconds: float = LONG_ENOUGH) -> float:
    """Wait for a condition; how many seconds that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() < started + seconds
        time.sleep(0.1)
    return time.monotonic() - started


def connected(farm: Farm, login: int) -> str:
    body = {"label": "Main", "login": login, "password": "broker-secret", "server": SERVER}
    account: str = farm.call("POST", "/accounts", 201, body)["id"]
    return account


def holds(node: RemoteNode, account: str) -> bool:
    node.obey()
    return any(each.account_id == account and each.running for each in node.desired)


def test_a_fleet_over_tls(farm: Farm) -> None:
    first = RemoteNode(farm.served)
    account = connected(farm, 5001)
    farm.call("PUT", f"/accounts/{account}/lease-policy", 200, {"policy": "self_fence"})
    until(lambda: holds(first, account))
    first.obey()
    first.obey()  # it knows what it was told
    old = first.desired[0]

    # Drained away and back: the agent confirms each stop.
    second = RemoteNode(farm.served)
    farm.call("POST", f"/nodes/{first.node_id}/drain", 202, {"reason": "new kernel"})
    until(lambda: (holds(first, account), holds(second, account)) == (False, True))
    assert second.desired[0].epoch == old.epoch + 1
    farm.call("POST", f"/nodes/{first.node_id}/uncordon", 200, {"reason": "kernel is in"})
    second.obey()

    # The second node falls silent. Its watchdog has ended the terminal, so that the first takes over.
    until(lambda: holds(first, account))
    assert first.desired[0].epoch == old.epoch + 2
    held = farm.call("GET", f"/nodes/{first.node_id}", 200)["terminals"]
    assert [(each["epoch"], each["assignment"]) for each in held] in (
        [(old.epoch + 2, "reserved")],
        [(old.epoch + 2, "active")],
    )
    second.obey()
    assert second.desired == []

    # A copy of its disk is started elsewhere.
    clone = copy.copy(first)
    clone.boot_id, clone.sequence = "boot-2", 0
    clone.obey()
    clone.obey()
    first.clock_ahead = 5
    refused = first.post(SYNC_PATH, first.sync_body([]))
    assert (refused.status_code, refused.json()["code"]) == (403, "identity_locked")
    assert farm.call("GET", f"/nodes/{first.node_id}", 200)["identity_state"] == "locked"
