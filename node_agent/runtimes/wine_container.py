"""Real terminals on Linux: a container each, with a screen, Wine, the terminal, and its bridge worker.

The container lives exactly as long as the terminal's program; its first process hands SIGTERM on to it as WM_CLOSE. The
worker is a further process in the same container, since the official package talks to terminals of its own Wine prefix
only; it is started, ended and judged alone.

The container sees the terminal's own folder and nothing else of this machine: for reading, with the folders that the
terminal writes to mounted over it. MetaTrader's program files are outside of those, so LiveUpdate can neither replace
them nor lay down a new build.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import structlog
from docker.errors import NotFound
from docker.models.containers import Container

from node_agent.clock import Clock
from node_agent.config import WineContainerSettings
from node_agent.layout import DataLayout
from node_agent.process import SHOWS_SCREEN, Handle, Role, Slot, birth_of, is_alive
from node_agent.protocol.messages import Reason
from node_agent.protocol.sealing import Credentials
from node_agent.roster import ADOPTED, Roster
from node_agent.runtimes.base import Capabilities, LaunchError, TerminalSpec, Usage, WorkerSeat
from node_agent.runtimes.container_files import ContainerFiles
from node_agent.runtimes.container_network import ensure_network
from node_agent.runtimes.docker_engine import CONTAINER, EXEC, DockerEngine, DockerProblem
from node_agent.terminal.shelf import TemplateError, TemplateShelf
from node_agent.terminal.startup import startup_file

_log = structlog.get_logger(__name__)

NODE_LABEL: Final = "org.mt5farm.node"
TERMINAL_LABEL: Final = "org.mt5farm.terminal"
FINGERPRINT_LABEL: Final = "org.mt5farm.fingerprint"
_UNTESTED: Final = 78
_WORKER: Final = ("seat", "worker")
_UP_SECONDS: Final = 60.0
_LISTEN_SECONDS: Final = 90.0
"""The first Windows program in a new prefix waits for Wine's own services."""
_PROGRAM: Final = r"C:\mt5\terminal64.exe"


class WineContainerRuntime:
    """Implements `base.Runtime`."""

    name = "wine_container"

    def __init__(
        self,
        roster: Roster,
        engine: DockerEngine,
        settings: WineContainerSettings,
        layout: DataLayout,
        shelf: TemplateShelf,
        clock: Clock,
    ) -> None:
        self._roster = roster
        self._engine = engine
        self._settings = settings
        self._shelf = shelf
        self._clock = clock
        self._node = hashlib.sha256(str(layout.root).encode()).hexdigest()[:8]
        self._files = ContainerFiles()
        self._naming = threading.Lock()
        self.capabilities = Capabilities(
            real_mt5=True,
            memory_limit=True,
            cpu_limit=True,
            own_network=True,
            isolates_users=True,
            view=settings.screen,
        )

    def prepare(self, spec: TerminalSpec, credentials: Credentials) -> None:
        try:
            startup = startup_file(credentials)
        except ValueError as error:
            raise LaunchError(Reason.BAD_CREDENTIALS, str(error)) from error
        if spec.template is None:
            raise LaunchError(Reason.TEMPLATE_BROKEN, "No terminal template has been imported for this broker.")
        try:
            template = self._shelf.take(spec.template)
            self._files.prepare(spec.layout, template, spec.template.sha256)
            self._files.write_startup(spec.layout, startup)
        except TemplateError as error:
            raise LaunchError(Reason.TEMPLATE_BROKEN, str(error)) from error
        except OSError as error:
            raise LaunchError.of(error, "The terminal's folder cannot be prepared") from error

    def start(self, spec: TerminalSpec) -> Handle:
        try:
            self._remove_container(spec)
            self._files.forget_screen(spec.layout)
            container = self._create(spec)
            container.start()
            container.reload()
        except (*DockerProblem, OSError) as error:
            raise _docker_failed(error) from error
        state = container.attrs["State"]
        birth = birth_of(state["Pid"]) if state["Pid"] else None
        if birth is None and state["Running"]:
            container.remove(force=True)
            raise LaunchError(Reason.TEMPLATE_BROKEN, "The agent cannot see the processes of Docker's containers.")
        handle = self._roster.enter(self._handle(spec, container, birth or "stillborn", spec.fingerprint))
        self._wait_until_up(spec, container, handle)
        if self._offer_screen(spec):
            handle = self._roster.enter(replace(handle, facts={**handle.facts, SHOWS_SCREEN: "yes"}))
        return handle

    def inspect(self, spec: TerminalSpec) -> Handle | None:
        return self._roster.running(_slot(spec))

    def stop(self, spec: TerminalSpec, grace: float) -> None:
        self._roster.stop(_slot(spec), max(grace, self._settings.stop_grace))
        self.forget_credentials(spec)

    def destroy(self, spec: TerminalSpec) -> None:
        try:
            self._remove_container(spec)
            for network in self._engine.client.networks.list(names=[f"^{self._name(spec)}$"]):
                network.remove()
        except DockerProblem as error:
            raise _docker_failed(error) from error
        try:
            for socket in (spec.layout.worker_socket, spec.layout.screen_socket):
                socket.unlink(missing_ok=True)
            for folder in (spec.layout.run, spec.layout.root):
                with suppress(FileNotFoundError):
                    shutil.rmtree(folder)
        except OSError as error:
            raise LaunchError.of(error, "The terminal's folder cannot be removed") from error

    def recover(self, specs: Sequence[TerminalSpec]) -> list[Handle]:
        try:
            containers = self._engine.client.containers.list(filters={"label": f"{NODE_LABEL}={self._node}"})
            found = {container.labels.get(TERMINAL_LABEL): container for container in containers}
            missing = []
            for spec in specs:
                if spec.terminal_id in found:
                    missing += self._missing(spec, found[spec.terminal_id])
        except DockerProblem as error:
            raise _docker_failed(error) from error
        return [self._roster.enter(handle) for handle in missing]

    def stats(self, spec: TerminalSpec) -> Usage | None:
        handle = self.inspect(spec)
        if handle is None:
            return None
        try:
            figures = self._engine.client.api.stats(handle.facts["container"], stream=False, one_shot=True)
            return usage_of(figures)
        except (*DockerProblem, KeyError):
            return None

    def forget_credentials(self, spec: TerminalSpec) -> None:
        spec.layout.startup.unlink(missing_ok=True)

    def worker_seat(self, spec: TerminalSpec) -> WorkerSeat:
        options = {"command": ["seat", "host"], "path": _PROGRAM, "portable": True}
        return WorkerSeat("native", options, self._files.inside(spec.layout), self._files.share)

    def start_worker(self, spec: TerminalSpec, fingerprint: str) -> Handle:
        terminal = self.inspect(spec)
        if terminal is None:
            raise LaunchError(Reason.PROCESS_EXIT, "The terminal has ended; its bridge starts with it.")
        self._files.forget_socket(spec.layout)
        api = self._engine.client.api
        try:
            made = api.exec_create(terminal.facts["container"], [*_WORKER, fingerprint])["Id"]
            api.exec_start(made, detach=True)
            state = api.exec_inspect(made)
        except (*DockerProblem, OSError) as error:
            raise _docker_failed(error) from error
        handle = self._roster.enter(self._worker_handle(spec, terminal.facts["container"], state, fingerprint))
        self._wait_until_listening(spec, handle)
        return handle

    def _create(self, spec: TerminalSpec) -> Container:
        settings, labels = self._settings, self._labels(spec)
        client = self._engine.client
        with self._naming:  # two that start together must not choose the same addresses
            network = ensure_network(client, self._name(spec), spec.terminal_id, labels, settings)
        return client.containers.create(
            settings.image,
            ["terminal", "screen"] if settings.screen else ["terminal"],
            name=self._name(spec),
            labels={**labels, FINGERPRINT_LABEL: spec.fingerprint},
            user=self._files.user,
            network=network,
            hostname="terminal",
            mem_limit=settings.memory_mb * 1024 * 1024,
            memswap_limit=settings.memory_mb * 1024 * 1024,
            nano_cpus=int(settings.cpus * 1_000_000_000),
            pids_limit=settings.pids,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            read_only=True,
            tmpfs={"/tmp": "mode=1777,size=64m,nosuid,nodev"},  # noqa: S108 - the container's own
            volumes=self._files.mounts(spec.layout),
            log_config={"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
            restart_policy={"Name": "no"},
        )

    def _wait_until_up(self, spec: TerminalSpec, container: Container, handle: Handle) -> None:
        """Until the program has been started; the start-up checks of the image come first. Raises LaunchError."""
        up = spec.layout.run / "up"
        deadline = time.monotonic() + _UP_SECONDS
        while not up.exists():
            if not is_alive(handle):
                code = self._engine.ending(handle).code
                words = container.logs(tail=1).decode(errors="replace").strip()
                self._roster.kill(handle.slot)
                if code == _UNTESTED:
                    raise LaunchError(Reason.TEMPLATE_BROKEN, f"The terminal's container says: {words[:200]}.")
                raise LaunchError(Reason.PROCESS_EXIT, f"The terminal's container ended at once (code {code}).")
            if time.monotonic() > deadline:
                self._roster.kill(handle.slot)
                raise LaunchError(Reason.IPC_TIMEOUT, "The terminal's container has not come up in time.")
            time.sleep(0.05)

    def _wait_until_listening(self, spec: TerminalSpec, handle: Handle) -> None:
        deadline = time.monotonic() + _LISTEN_SECONDS
        while not self._files.offer_socket(spec.layout):
            if not is_alive(handle):
                raise LaunchError(Reason.PROCESS_EXIT, "The bridge to the terminal ended at its start.")
            if time.monotonic() > deadline:
                self._roster.kill(handle.slot)
                raise LaunchError(Reason.IPC_TIMEOUT, "The bridge to the terminal has not started in time.")
            time.sleep(0.05)

    def _missing(self, spec: TerminalSpec, container: Container) -> list[Handle]:
        """Handles of what runs in a container and is not in the roster."""
        found = []
        screen = self._offer_screen(spec)
        birth = birth_of(container.attrs["State"]["Pid"])
        if birth and self._roster.running(_slot(spec)) is None:
            fingerprint = container.labels.get(FINGERPRINT_LABEL, ADOPTED)
            found.append(self._handle(spec, container, birth, fingerprint, screen=screen))
        if birth and self._roster.running(_worker_slot(spec)) is None:
            for made in container.attrs["ExecIDs"] or ():
                state = self._engine.client.api.exec_inspect(made)
                command = [state["ProcessConfig"]["entrypoint"], *state["ProcessConfig"]["arguments"]]
                if state["Running"] and tuple(command[:2]) == _WORKER:
                    found.append(self._worker_handle(spec, container.id, state, command[2]))
                    self._files.offer_socket(spec.layout)
        return found

    def _offer_screen(self, spec: TerminalSpec) -> bool:
        """Whether it is shown. A terminal whose screen cannot be seen is as good as any other."""
        try:
            return self._files.offer_screen(spec.layout)
        except OSError as error:
            _log.warning("screen_not_offered", terminal=spec.terminal_id, error=str(error))
            return False

    def _handle(
        self, spec: TerminalSpec, container: Container, birth: str, fingerprint: str, *, screen: bool = False
    ) -> Handle:
        facts = {"container": str(container.id), "name": self._name(spec)}
        if screen:
            facts[SHOWS_SCREEN] = "yes"
        pid = container.attrs["State"]["Pid"]
        return Handle(_slot(spec), pid, birth, self._clock(), fingerprint, CONTAINER, facts)

    def _worker_handle(self, spec: TerminalSpec, container: str, state: dict[str, Any], fingerprint: str) -> Handle:
        pid = state["Pid"]
        facts = {"container": container, "exec": state["ID"]}
        birth = birth_of(pid) or "stillborn"
        return Handle(_worker_slot(spec), pid, birth, self._clock(), fingerprint, EXEC, facts)

    def _remove_container(self, spec: TerminalSpec) -> None:
        """Also one that still runs and that nobody knows: two of one terminal must not be."""
        with suppress(NotFound):
            self._engine.client.containers.get(self._name(spec)).remove(force=True)
        (spec.layout.run / "up").unlink(missing_ok=True)

    def _name(self, spec: TerminalSpec) -> str:
        return f"mt5farm-{self._node}-{spec.terminal_id}"

    def _labels(self, spec: TerminalSpec) -> dict[str, str]:
        return {NODE_LABEL: self._node, TERMINAL_LABEL: spec.terminal_id}


def usage_of(figures: dict[str, Any]) -> Usage:
    """From Docker's statistics, of cgroups of version 1 or 2. Raises KeyError for a container that has just ended."""
    memory = figures["memory_stats"]
    # Files that the kernel keeps in spare memory are no use of it: it gives them up when asked.
    spare = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
    return Usage(
        memory=max(0, memory["usage"] - spare),
        cpu_seconds=figures["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
        processes=figures["pids_stats"]["current"],
    )


def _slot(spec: TerminalSpec) -> Slot:
    return Slot(Role.TERMINAL, spec.terminal_id)


def _worker_slot(spec: TerminalSpec) -> Slot:
    return Slot(Role.WORKER, spec.terminal_id)


def _docker_failed(error: Exception) -> LaunchError:
    if isinstance(error, OSError) and not isinstance(error, DockerProblem):
        return LaunchError.of(error, "The terminal's container cannot be made")
    return LaunchError(Reason.TEMPLATE_BROKEN, "Docker on this node does not do what is asked of it at the moment.")
