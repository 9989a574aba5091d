"""A node's parts around one runtime, without an agent: what the cases of the contract act on."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mt5_bridge.client import MetaTrader5
from node_agent.database import Database
from node_agent.layout import DataLayout
from node_agent.process import Children, Engine, Handle, Role, Slot
from node_agent.protocol.messages import DesiredTerminal, Guard
from node_agent.protocol.sealing import Credentials
from node_agent.roster import Roster
from node_agent.runtimes.base import LaunchError, Runtime, TerminalSpec
from node_agent.state import StateStore
from node_agent.worker import write_worker_config

LOGIN = 5001
SERVER = "MT5Farm-Demo"


class Driver(Protocol):
    """What is particular to one runtime."""

    name: str

    def engines(self) -> dict[str, Engine]:
        """By kind of handle, as the node's."""

    def runtime(self, layout: DataLayout, roster: Roster) -> Runtime:
        """Made as an agent that has just started makes it."""

    def spec(self, spec: TerminalSpec) -> TerminalSpec:
        """What this runtime needs to know besides."""

    def break_down(self, spec: TerminalSpec, handle: Handle) -> int:
        """Make the terminal end by itself; gives the exit code that must be told."""

    def refuse_to_end(self, spec: TerminalSpec, handle: Handle) -> None:
        """Make the terminal deaf to polite requests."""

    def outside(self, spec: TerminalSpec, handle: Handle) -> str:
        """What anybody on this machine can see of the running terminal: command lines, environments, labels."""

    def spoil(self, spec: TerminalSpec) -> TerminalSpec:
        """A terminal that cannot be prepared or started."""

    def eat_memory(self, spec: TerminalSpec) -> None:
        """Make the terminal take more than it may. Only where `memory_limit` is claimed."""


@dataclass
class Stage:
    """One node."""

    driver: Driver
    root: Path
    layout: DataLayout
    database: Database
    roster: Roster
    runtime: Runtime

    @classmethod
    def open(cls, driver: Driver) -> Stage:
        root = Path(tempfile.mkdtemp(prefix="m5", dir="/tmp"))
        layout = DataLayout.open(root / "data")
        layout.open_run_folder()
        database = Database(layout.database)
        roster = Roster(StateStore(database), Children(), time.time, driver.engines())
        return cls(driver, root, layout, database, roster, driver.runtime(layout, roster))

    def restart_agent(self) -> None:
        """Another agent on the same folder: what the old one had in memory is gone."""
        self.roster = Roster(StateStore(self.database), Children(), time.time, self.driver.engines())
        self.runtime = self.driver.runtime(self.layout, self.roster)

    def lose_handles(self) -> None:
        """As if the agent had died between starting and recording."""
        for handle in StateStore(self.database).handles():
            StateStore(self.database).drop_handle(handle)
        self.restart_agent()

    def spec(self, number: int = 1, fingerprint: str = "print") -> TerminalSpec:
        terminal_id = f"ter_{number:016d}"
        return self.driver.spec(TerminalSpec(terminal_id, SERVER, None, self.layout.terminal(terminal_id), fingerprint))

    def start(self, number: int = 1, password: str = "a-password") -> tuple[TerminalSpec, Handle]:
        spec = self.spec(number)
        self.runtime.prepare(spec, Credentials(login=LOGIN, password=password, server=SERVER))
        return spec, self.runtime.start(spec)

    def start_worker(self, spec: TerminalSpec, fingerprint: str = "worker-print") -> Handle:
        write_worker_config(spec.layout, desired(spec), self.runtime.worker_seat(spec))
        return self.runtime.start_worker(spec, fingerprint)

    def bridge_now(self, spec: TerminalSpec) -> Any:
        """Raises OSError when no worker answers."""
        token = spec.layout.token.read_text()
        return MetaTrader5(f"unix:{spec.layout.worker_socket}", token=token, scope="trade", epoch=1, principal="test")

    def bridge(self, spec: TerminalSpec) -> Any:
        """A session with the worker, once it answers."""

        def connect() -> Any:
            with contextlib.suppress(OSError):
                return self.bridge_now(spec)

        return self.until(connect, "the worker answers", 20.0)

    def bridge_is_gone(self, spec: TerminalSpec) -> None:
        """Raises AssertionError when something still answers for the terminal."""
        try:
            self.bridge_now(spec).close()
        except OSError:
            return
        raise AssertionError("a worker still answers")

    def worker(self, spec: TerminalSpec) -> Handle | None:
        return self.roster.running(Slot(Role.WORKER, spec.terminal_id))

    @staticmethod
    def until(condition: Callable[[], Any], what: str, seconds: float = 10.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not in time: {what}"
            time.sleep(0.02)
        return found

    def close(self) -> None:
        for role in (Role.WORKER, Role.TERMINAL):
            for owner in self.roster.owners():
                self.roster.kill(Slot(role, owner))
        for terminal_id in self.layout.terminals_on_disk():
            spec = self.driver.spec(TerminalSpec(terminal_id, SERVER, None, self.layout.terminal(terminal_id), ""))
            self.runtime.destroy(spec)
        self.database.close()
        shutil.rmtree(self.layout.run, ignore_errors=True)
        shutil.rmtree(self.root)


def refusal(work: Callable[[], object]) -> LaunchError | None:
    """The LaunchError with which it was refused; None when it was not."""
    try:
        work()
    except LaunchError as error:
        return error
    return None


def desired(spec: TerminalSpec) -> DesiredTerminal:
    return DesiredTerminal(
        terminal_id=spec.terminal_id,
        account_id="acc_0000000000000001",
        tenant_id="ten_0000000000000001",
        epoch=1,
        running=True,
        runtime="any",
        login=LOGIN,
        server=SERVER,
        credentials="box",
        credentials_version=1,
        guard=Guard(),
    )


def secret() -> str:
    """A password that is found nowhere by chance."""
    return f"s3cret-{secrets.token_hex(6)}"
