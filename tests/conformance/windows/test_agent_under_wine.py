"""The whole agent in the Windows Python under Wine: enrolled, synced, with its terminals, workers and gateway."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mt5_bridge.simulated.admin import BrokerAdmin
from provisioning.wine.tools import WineError
from tests.conformance.windows.windows_agent import WindowsAgentNode
from tests.conformance.windows.wine_machine import WineMachine, compile_stand_in, wine_machine
from tests.integration.node_agent.control_plane_stand_in import ControlPlaneStandIn, wait_until

PASSWORD = "demo-password-1"


@pytest.fixture(scope="module")
def machine() -> Iterator[WineMachine]:
    try:
        with wine_machine() as machine:
            yield machine
    except WineError as error:
        pytest.skip(f"the agent cannot run as on Windows here: {error}")


@pytest.fixture
def node(machine: WineMachine, tmp_path: Path) -> Iterator[WindowsAgentNode]:
    plane = ControlPlaneStandIn(tmp_path)
    node = WindowsAgentNode(plane, machine)
    try:
        yield node
    finally:
        node.clean_up()
        plane.close()


@pytest.fixture
def broker() -> Iterator[tuple[str, BrokerAdmin]]:
    folder = Path(tempfile.mkdtemp(prefix="m5", dir="/tmp"))
    command = [sys.executable, "-m", "mt5_bridge.simulated.server", "--data", str(folder), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen([*command, "--speed", "60", "--seed", "7"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    yield ready["address"], BrokerAdmin(ready["address"], (folder / "admin.token").read_text().strip())
    process.terminate()
    process.wait(10)
    process.stdout.close()
    shutil.rmtree(folder)


@pytest.mark.timeout(200)
def test_a_simulated_terminal_becomes_ready_on_windows(
    node: WindowsAgentNode, broker: tuple[str, BrokerAdmin]
) -> None:
    address, admin = broker
    login = admin.create_account(password=PASSWORD)
    node.plane.want(node.desired(1, PASSWORD, login=login, server="MT5Farm-Demo", server_address=address))
    node.start()
    node.wait_phase(1, "ready", 60)


@pytest.mark.timeout(200)
def test_a_real_terminal_s_stand_in_is_started_and_the_official_package_finds_nobody(
    node: WindowsAgentNode,
) -> None:
    template = node.data / "template"
    template.mkdir()
    compile_stand_in(template)
    node.plane.want(node.desired(2, PASSWORD, runtime="windows_process"))
    node.start()
    import time, subprocess as sp
    for i in range(4):
        time.sleep(8); print(node.observed(2), sp.run("ps aux | grep terminal64", shell=True, capture_output=True, text=True).stdout)
    print(node.log.read_text()[-3000:])
    seen = wait_until(lambda: (now := node.observed(2)) and now.worker_pid and now, 60, "a terminal process")
    print(seen); import time; time.sleep(14); print(node.observed(2)); print(node.log.read_text()[-3000:]); import subprocess as sp; print(sp.run("find %s | head -50; cat %s/terminals/*/logs/bridge.log" % (node.data, node.data), shell=True, capture_output=True, text=True).stdout); assert 0
