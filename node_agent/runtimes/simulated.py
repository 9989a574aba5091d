"""Simulated terminals: a Python process each, with the folder layout of a portable MT5."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence

import psutil

from node_agent.files import private_folder, write_atomically
from node_agent.process import Handle, Role, Slot
from node_agent.protocol.messages import Reason
from node_agent.protocol.sealing import Credentials
from node_agent.roster import Candidate, Roster
from node_agent.runtimes.base import Capabilities, LaunchError, TerminalSpec, Usage, WorkerSeat
from node_agent.worker import Modules, start_worker, worker_command


class SimulatedRuntime:
    """Implements `base.Runtime`. `modules` are what `python -m` runs as the terminal and its worker."""

    name = "simulated"
    capabilities = Capabilities()

    def __init__(self, roster: Roster, modules: Modules | None = None) -> None:
        self._roster = roster
        self._modules = modules or Modules()

    def prepare(self, spec: TerminalSpec, credentials: Credentials) -> None:
        if any(character in credentials.password + credentials.server for character in "\r\n\0"):
            raise LaunchError(Reason.BAD_CREDENTIALS, "The password contains a character that MT5 cannot take.")
        startup = (
            f"[Common]\nLogin={credentials.login}\nPassword={credentials.password}\nServer={credentials.server}\n"
            "[Experts]\nAllowLiveTrading=1\nEnabled=1\n"
        )
        servers = {spec.server: spec.server_address} if spec.server_address else {}
        config = spec.layout.folder / "config"
        try:
            private_folder(spec.layout.folder)
            private_folder(config)
            write_atomically(config / "servers.json", json.dumps(servers).encode())
            write_atomically(spec.layout.startup, startup.encode())
        except OSError as error:
            raise LaunchError.of(error, "The terminal's folder cannot be prepared") from error

    def start(self, spec: TerminalSpec) -> Handle:
        spec.layout.ipc_socket.unlink(missing_ok=True)
        try:
            return self._roster.start(
                self._slot(spec), self._command(spec), spec.layout.logs / "terminal.log", spec.fingerprint
            )
        except OSError as error:
            raise LaunchError.of(error, "The terminal cannot be started") from error

    def inspect(self, spec: TerminalSpec) -> Handle | None:
        return self._roster.running(self._slot(spec))

    def stop(self, spec: TerminalSpec, grace: float) -> None:
        self._roster.stop(self._slot(spec), grace)
        self.forget_credentials(spec)

    def destroy(self, spec: TerminalSpec) -> None:
        for socket in (spec.layout.ipc_socket, spec.layout.worker_socket):
            socket.unlink(missing_ok=True)
        try:
            shutil.rmtree(spec.layout.root)
        except FileNotFoundError:
            return
        except OSError as error:
            raise LaunchError.of(error, "The terminal's folder cannot be removed") from error

    def recover(self, specs: Sequence[TerminalSpec]) -> list[Handle]:
        terminals = [Candidate(self._slot(spec), tuple(self._command(spec))) for spec in specs]
        workers = [
            Candidate(Slot(Role.WORKER, spec.terminal_id), tuple(worker_command(spec.layout, self._modules.worker)))
            for spec in specs
        ]
        return self._roster.adopt([*terminals, *workers])

    def stats(self, spec: TerminalSpec) -> Usage | None:
        handle = self.inspect(spec)
        if handle is None:
            return None
        try:
            process = psutil.Process(handle.pid)
            times = process.cpu_times()
            return Usage(process.memory_info().rss, times.user + times.system, 1)
        except psutil.Error:
            return None

    def forget_credentials(self, spec: TerminalSpec) -> None:
        spec.layout.startup.unlink(missing_ok=True)

    def worker_seat(self, spec: TerminalSpec) -> WorkerSeat:
        return WorkerSeat("simulated", {"ipc": f"unix:{spec.layout.ipc_socket}"})

    def start_worker(self, spec: TerminalSpec, fingerprint: str) -> Handle:
        try:
            return start_worker(self._roster, spec.layout, spec.terminal_id, fingerprint, self._modules.worker)
        except OSError as error:
            raise LaunchError.of(error, "The bridge to the terminal cannot be started") from error

    def _slot(self, spec: TerminalSpec) -> Slot:
        return Slot(Role.TERMINAL, spec.terminal_id)

    def _command(self, spec: TerminalSpec) -> list[str]:
        folder, ipc = str(spec.layout.folder), f"unix:{spec.layout.ipc_socket}"
        return [sys.executable, "-m", self._modules.terminal, "--folder", folder, "--ipc", ipc]
