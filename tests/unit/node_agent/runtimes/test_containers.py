"""What can be said of containers without Docker: networks, figures, files, and how an end is read."""

from __future__ import annotations

import socket
import stat
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest
from docker.errors import APIError
from hypothesis import given
from hypothesis import strategies as st

from node_agent.layout import TerminalLayout
from node_agent.process import Ending, Handle, Role, Slot
from node_agent.runtimes.container_files import ContainerFiles
from node_agent.runtimes.container_network import free_subnet, outgoing_address
from node_agent.runtimes.docker_engine import CONTAINER, EXEC, DockerEngine
from node_agent.runtimes.wine_container import usage_of

POOL = IPv4Network("10.213.0.0/24")


class TestNetworks:
    @given(st.lists(st.integers(0, 31), unique=True, max_size=32))
    def test_a_new_one_overlaps_none_until_there_is_no_room(self, taken: list[int]) -> None:
        used = [list(POOL.subnets(new_prefix=29))[number] for number in taken]
        found = free_subnet(POOL, used)
        if len(taken) == 32:
            assert found is None
        else:
            assert found is not None
            assert not any(found.overlaps(other) for other in used)

    def test_somebody_elses_network_is_kept_clear_of(self) -> None:
        assert free_subnet(POOL, [IPv4Network("10.213.0.0/25")]) == IPv4Network("10.213.0.128/29")
        assert free_subnet(POOL, [IPv4Network("10.0.0.0/8")]) is None

    def test_a_terminal_always_leaves_by_the_same_address(self) -> None:
        addresses = [IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")]
        first = {outgoing_address(f"ter_{n}", addresses) for n in range(50)}
        assert first == set(addresses)
        assert outgoing_address("ter_7", addresses) == outgoing_address("ter_7", addresses)
        assert outgoing_address("ter_7", []) is None


@pytest.mark.parametrize(
    "stats", [{"total_inactive_file": 40, "inactive_file": 1}, {"inactive_file": 40}], ids=["version 1", "version 2"]
)
def test_memory_that_the_kernel_would_give_back_does_not_count(stats: dict[str, int]) -> None:
    usage = usage_of(
        {
            "memory_stats": {"usage": 100, "stats": stats},
            "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}},
            "pids_stats": {"current": 48},
        }
    )
    assert (usage.memory, usage.cpu_seconds, usage.processes) == (60, 2.5, 48)


class TestEndings:
    def handle(self, kind: str) -> Handle:
        return Handle(Slot(Role.TERMINAL, "t"), 1, "gone", 0.0, "", kind, {"container": "c", "exec": "e"})

    def ending(self, kind: str, state: dict[str, Any] | Exception) -> Ending:
        def answer(_: str) -> Any:
            if isinstance(state, Exception):
                raise state
            return state if kind == EXEC else {"State": state}

        api = SimpleNamespace(inspect_container=answer, exec_inspect=answer)
        engine = DockerEngine(lambda: cast(docker.DockerClient, SimpleNamespace(api=api)))
        return engine.ending(self.handle(kind))

    @pytest.mark.parametrize("kind", [CONTAINER, EXEC])
    @pytest.mark.parametrize(("code", "told"), [(0, 0), (3, 3), (137, -9), (143, -15)])
    def test_signals_are_negative(self, kind: str, code: int, told: int) -> None:
        assert self.ending(kind, {"Running": False, "ExitCode": code}) == Ending(told)

    def test_memory_is_told_by_docker_or_by_the_image_itself(self) -> None:
        assert self.ending(CONTAINER, {"Running": False, "ExitCode": 137, "OOMKilled": True}).out_of_memory
        assert self.ending(CONTAINER, {"Running": False, "ExitCode": 79, "OOMKilled": False}).out_of_memory
        # Something else in it was ended for its memory, and the terminal went on and closed as usual.
        assert not self.ending(CONTAINER, {"Running": False, "ExitCode": 0, "OOMKilled": True}).out_of_memory

    def test_docker_that_does_not_answer_leaves_the_code_open(self) -> None:
        assert self.ending(CONTAINER, APIError("gone")) == Ending()


class TestFiles:
    @pytest.fixture
    def layout(self) -> Iterator[TerminalLayout]:
        with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as folder:
            layout = TerminalLayout(Path(folder) / "ter_1", Path(folder))
            (layout.folder / "config").mkdir(parents=True)
            layout.run.mkdir()
            yield layout

    def test_the_container_sees_its_own_folder_for_reading_and_parts_of_it_for_writing(
        self, layout: TerminalLayout
    ) -> None:
        mounts = ContainerFiles().mounts(layout)
        assert mounts.pop(str(layout.root)) == {"bind": "/terminal", "mode": "ro"}
        assert {path.removeprefix(str(layout.root)): mount["bind"] for path, mount in mounts.items()} == {
            "/folder/config": "/terminal/folder/config",
            "/prefix": "/terminal/prefix",
            "/logs": "/terminal/logs",
            "/bridge": "/terminal/bridge",
            str(layout.run): "/run/mt5farm",
        }

    def test_a_listening_socket_comes_to_its_place(self, layout: TerminalLayout) -> None:
        files = ContainerFiles()
        assert not files.offer_socket(layout)
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(str(layout.run / "w"))
            server.listen()
            assert files.offer_socket(layout)
            assert files.offer_socket(layout)
            client.connect(str(layout.worker_socket))
        files.forget_socket(layout)
        assert not layout.worker_socket.exists()

    def test_so_does_the_one_that_shows_the_screen(self, layout: TerminalLayout) -> None:
        files = ContainerFiles()
        assert not files.offer_screen(layout)
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(str(layout.run / "s"))
            server.listen()
            assert files.offer_screen(layout)
            client.connect(str(layout.screen_socket))
        files.forget_screen(layout)
        assert not layout.screen_socket.exists()
        (layout.run / "s").symlink_to("/run/docker.sock")
        with pytest.raises(OSError, match="no socket"):
            files.offer_screen(layout)
        assert not layout.screen_socket.is_symlink()

    def test_a_link_to_somebody_elses_socket_is_no_way_out(self, layout: TerminalLayout) -> None:
        with socket.socket(socket.AF_UNIX) as docker_socket:
            docker_socket.bind(str(layout.sockets / "docker.sock"))
            docker_socket.listen()
            (layout.run / "w").symlink_to(layout.sockets / "docker.sock")
            with pytest.raises(OSError, match="no socket"):
                ContainerFiles().offer_socket(layout)
        assert not layout.worker_socket.is_symlink()

    def test_the_start_up_file_is_private_and_goes_into_the_real_folder(self, layout: TerminalLayout) -> None:
        files = ContainerFiles()
        outside = layout.sockets / "outside"
        outside.write_text("untouched")
        layout.startup.symlink_to(outside)
        files.write_startup(layout, b"secret")
        assert outside.read_text() == "untouched"
        assert layout.startup.read_bytes() == b"secret"
        assert stat.S_IMODE(layout.startup.stat().st_mode) == 0o600
        assert [path.name for path in layout.startup.parent.iterdir()] == ["startup.ini"]

    def test_a_config_folder_that_is_a_link_is_refused(self, layout: TerminalLayout) -> None:
        elsewhere = layout.sockets / "elsewhere"
        elsewhere.mkdir()
        layout.startup.parent.rmdir()
        layout.startup.parent.symlink_to(elsewhere)
        with pytest.raises(OSError, match=r"\[Errno"):
            ContainerFiles().write_startup(layout, b"secret")
        assert list(elsewhere.iterdir()) == []
