"""The runtimes that can run here, each with what is particular to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import docker
from docker.errors import DockerException

from control_plane.releases.archive import pack
from node_agent.config import WineContainerSettings
from node_agent.layout import DataLayout
from node_agent.process import Engine, Handle
from node_agent.protocol.messages import TemplateRef
from node_agent.roster import Roster
from node_agent.runtimes.base import Runtime, TerminalSpec
from node_agent.runtimes.container_files import CONTAINER_USER
from node_agent.runtimes.docker_engine import CONTAINER, EXEC, DockerEngine
from node_agent.runtimes.simulated import SimulatedRuntime
from node_agent.runtimes.wine_container import WineContainerRuntime
from node_agent.terminal.shelf import TemplateShelf


def process_facts(pid: int) -> str:
    """Command line and environment of a process, as its own user sees them."""
    folder = Path(f"/proc/{pid}")
    return (folder / "cmdline").read_text() + (folder / "environ").read_text(errors="replace")


class SimulatedDriver:
    """Terminals of the simulated broker, which is not there: they try to log in for ever."""

    name = "simulated"
    killed = -signal.SIGKILL

    def engines(self) -> dict[str, Engine]:
        return {}

    def runtime(self, layout: DataLayout, roster: Roster) -> Runtime:
        return SimulatedRuntime(roster)

    def spec(self, spec: TerminalSpec) -> TerminalSpec:
        return replace(spec, server_address="127.0.0.1:9")

    def break_down(self, spec: TerminalSpec, handle: Handle) -> int:
        os.kill(handle.pid, signal.SIGKILL)
        return -signal.SIGKILL

    def refuse_to_end(self, spec: TerminalSpec, handle: Handle) -> None:
        os.kill(handle.pid, signal.SIGSTOP)

    def outside(self, spec: TerminalSpec, handle: Handle) -> str:
        return process_facts(handle.pid)

    def spoil(self, spec: TerminalSpec) -> TerminalSpec:
        spec.layout.root.mkdir(parents=True)
        spec.layout.folder.write_text("in the way")
        return spec

    def eat_memory(self, spec: TerminalSpec) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Template:
    """A packed template on this machine."""

    archive: Path
    ref: TemplateRef


def pack_template(folder: Path, program: Path) -> Template:
    """What an operator would have imported: the program and a server list."""
    content = folder / "content"
    (content / "config").mkdir(parents=True)
    (content / "config" / "servers.dat").write_bytes(b"servers")
    (content / "terminal64.exe").write_bytes(program.read_bytes())
    archive = folder / "template.tar.gz"
    packed = pack(content, archive)
    return Template(archive, TemplateRef(name="Stand-in", build=packed.build, sha256=packed.sha256, size=packed.size))


def container_settings(image: str) -> WineContainerSettings:
    """Small, and with networks that lead nowhere."""
    return WineContainerSettings(image=image, memory_mb=512, outgoing=False, stop_grace=4.0)


class WineContainerDriver:
    """The real image on a real Docker daemon; terminal64.exe is a stand-in (terminal64.c)."""

    name = "wine_container"
    killed = -signal.SIGKILL

    def __init__(self, image: str, template: Template) -> None:
        self._template = template
        self._settings = container_settings(image)
        self._engine = DockerEngine()

    def engines(self) -> dict[str, Engine]:
        return {CONTAINER: self._engine, EXEC: self._engine}

    def runtime(self, layout: DataLayout, roster: Roster) -> Runtime:
        shelf = TemplateShelf(layout.templates, lambda ref, file: _copy(self._template.archive, file))
        return WineContainerRuntime(roster, self._engine, self._settings, layout, shelf, time.time)

    def spec(self, spec: TerminalSpec) -> TerminalSpec:
        return replace(spec, template=self._template.ref)

    def break_down(self, spec: TerminalSpec, handle: Handle) -> int:
        self._order(spec, "exit-3")
        return 3

    def refuse_to_end(self, spec: TerminalSpec, handle: Handle) -> None:
        self._order(spec, "deaf")
        time.sleep(0.5)

    def outside(self, spec: TerminalSpec, handle: Handle) -> str:
        container = self._engine.client.containers.get(handle.facts["container"])
        pids = [int(row[0]) for row in container.top(ps_args="-eo pid,comm")["Processes"]]
        facts = []
        for pid in pids:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # helpers of its start come and go
                facts.append(process_facts(pid))
        assert facts
        return "".join((json.dumps(container.attrs), container.logs().decode(), *facts))

    def spoil(self, spec: TerminalSpec) -> TerminalSpec:
        return replace(spec, template=self._template.ref.model_copy(update={"sha256": "0" * 64}))

    def eat_memory(self, spec: TerminalSpec) -> None:
        self._order(spec, "grow")

    def _order(self, spec: TerminalSpec, name: str) -> None:
        files = spec.layout.folder / "MQL5" / "Files"
        files.mkdir(parents=True, exist_ok=True)
        (files / name).touch()
        if os.geteuid() == 0:
            for path in (files.parent, files, files / name):
                os.chown(path, CONTAINER_USER, CONTAINER_USER)


def _copy(archive: Path, file: Path) -> None:
    file.write_bytes(archive.read_bytes())


def docker_problem() -> str | None:
    """Why Docker cannot be used here; None when it can."""
    try:
        with contextlib.closing(docker.from_env(timeout=5)) as client:
            client.ping()
    except DockerException as error:
        return f"Docker does not answer ({type(error).__name__})"
    return None
