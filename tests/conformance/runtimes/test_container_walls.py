"""What a container of a real terminal may not do, as the kernel and Docker see it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from node_agent.config import WineContainerSettings
from node_agent.process import Handle
from node_agent.runtimes.base import TerminalSpec
from node_agent.runtimes.container_network import ensure_network
from node_agent.runtimes.docker_engine import DockerEngine
from tests.conformance.runtimes.drivers import WineContainerDriver, pack_template
from tests.conformance.runtimes.stage import Stage


@pytest.fixture(scope="module")
def started(
    image: str, stand_in: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stage, TerminalSpec, Handle]]:
    stage = Stage.open(WineContainerDriver(image, pack_template(tmp_path_factory.mktemp("template"), stand_in)))
    spec, handle = stage.start()
    yield stage, spec, handle
    stage.close()


def inside(handle: Handle, command: str) -> tuple[int, str]:
    container = DockerEngine().client.containers.get(handle.facts["container"])
    code, output = container.exec_run(["sh", "-c", command])
    return code, output.decode()


def test_every_process_is_nobody_special(started: tuple[Stage, TerminalSpec, Handle]) -> None:
    _, _, handle = started
    container = DockerEngine().client.containers.get(handle.facts["container"])
    pids = [row[0] for row in container.top(ps_args="-eo pid,comm")["Processes"]]
    assert len(pids) > 4
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since it was listed
        status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        assert set(status["Uid"]) != {"0"}
        assert (status["CapEff"], status["CapPrm"], status["CapBnd"]) == (["0" * 16],) * 3
        assert status["NoNewPrivs"] == ["1"]
        assert status["Seccomp"] == ["2"]


def test_its_limits_are_the_kernels(started: tuple[Stage, TerminalSpec, Handle]) -> None:
    _, _, handle = started
    host = DockerEngine().client.containers.get(handle.facts["container"]).attrs["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 512 * 1024 * 1024
    assert (host["NanoCpus"], host["PidsLimit"]) == (1_000_000_000, 512)
    assert (host["ReadonlyRootfs"], host["Privileged"], host["RestartPolicy"]["Name"]) == (True, False, "no")
    code, _ = inside(handle, "i=0; while [ $i -lt 600 ]; do sleep 3 & i=$((i+1)); done; wait")
    assert code != 0, "a fork bomb ends at the limit"


@pytest.mark.parametrize(
    "path",
    [
        "/opt/mt5farm/new",
        "/opt/mt5farm/wine/prefix/drive_c/windows/new",
        "/terminal/new",
        "/terminal/folder/new",
        "/terminal/folder/terminal64.exe",
        "/terminal/folder/liveupdate/new",
        "/terminal/worker.json",
        "/usr/new",
    ],
)
def test_what_is_not_its_own_cannot_be_written(started: tuple[Stage, TerminalSpec, Handle], path: str) -> None:
    code, _ = inside(started[2], f"echo x >> {path}")
    assert code != 0


def test_a_newer_build_can_take_no_programs_place(started: tuple[Stage, TerminalSpec, Handle]) -> None:
    _, spec, handle = started
    before = (spec.layout.folder / "terminal64.exe").read_bytes()
    for attack in (
        "mv /terminal/folder/terminal64.exe /terminal/folder/config/",
        "cp /bin/sh /terminal/folder/terminal64.exe",
        "mkdir /terminal/folder/liveupdate",
        "mv /terminal/folder/config /terminal/folder/other",
        "rm -f /terminal/folder/terminal64.exe",
        "ln -s /terminal/folder/config /terminal/folder/liveupdate",
    ):
        assert inside(handle, attack)[0] != 0, attack
    assert (spec.layout.folder / "terminal64.exe").read_bytes() == before
    log = spec.layout.folder / "logs" / "stand_in.log"
    alike = "program writable=0 folder writable=0 update writable=0"
    Stage.until(lambda: log.exists() and alike in log.read_text(), "Windows programs see it alike")


def test_it_sees_nothing_of_the_machine_but_its_own_folder(started: tuple[Stage, TerminalSpec, Handle]) -> None:
    stage, spec, handle = started
    container = DockerEngine().client.containers.get(handle.facts["container"])
    sources = [mount["Source"] for mount in container.attrs["Mounts"]]
    assert all(path.startswith((str(spec.layout.root), str(spec.layout.run))) for path in sources)
    [whole] = [mount for mount in container.attrs["Mounts"] if mount["Source"] == str(spec.layout.root)]
    assert not whole["RW"]
    assert inside(handle, "test -S /var/run/docker.sock")[0] != 0
    assert inside(handle, f"ls {stage.layout.root}")[0] != 0


def test_its_network_is_its_own_and_here_leads_nowhere(started: tuple[Stage, TerminalSpec, Handle]) -> None:
    stage, _, handle = started
    container = DockerEngine().client.containers.get(handle.facts["container"])
    [network] = container.attrs["NetworkSettings"]["Networks"].values()
    _, other = stage.start(2)
    neighbour = DockerEngine().client.containers.get(other.facts["container"])
    [second] = neighbour.attrs["NetworkSettings"]["Networks"].values()
    assert network["NetworkID"] != second["NetworkID"]
    knock = "import socket; socket.create_connection(('{}', 9), 2)"
    code, said = inside(handle, f'python3 -c "{knock.format(second["IPAddress"])}"')
    assert code != 0
    assert "refused" not in said.lower(), "not even a refusal comes back"
    assert DockerEngine().client.networks.get(network["NetworkID"]).attrs["Internal"], "Docker drops what goes out"


def test_an_outgoing_address_is_given_to_the_network() -> None:
    """Docker's own rule says under which address packets leave."""
    client = DockerEngine().client
    settings = WineContainerSettings(image="none", outgoing_addresses=(IPv4Address("192.0.2.77"),))
    name = ensure_network(client, "mt5farm-test-outgoing", "ter_1", {}, settings)
    try:
        assert ensure_network(client, name, "ter_1", {}, settings) == name
        rules = subprocess.run(["iptables-save", "-t", "nat"], capture_output=True, text=True, check=True).stdout
        subnet = client.networks.list(names=[name])[0].attrs["IPAM"]["Config"][0]["Subnet"]
        assert [rule for rule in rules.splitlines() if subnet in rule and "SNAT --to-source 192.0.2.77" in rule]
    finally:
        for network in client.networks.list(names=[name]):
            network.remove()
