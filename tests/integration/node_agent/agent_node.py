"""A node in a temporary folder: the real agent as a process, on stub terminals and bots, with quick timing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from node_agent.config import Bounds, Timing, WineContainerSettings, load_config, save_config
from node_agent.database import Database
from node_agent.enrolment import EnrolmentFile, EnrolmentOptions, enrol_node
from node_agent.layout import DataLayout
from node_agent.process import is_alive
from node_agent.protocol.messages import DealBody, DesiredBot, DesiredTerminal, Guard, ObservedTerminal
from node_agent.protocol.sealing import Credentials, SealContext, seal
from node_agent.shutdown import stop_everything
from node_agent.state import StateStore
from tests.integration.node_agent.control_plane_stand_in import ControlPlaneStandIn, wait_until

STUBS = Path(__file__).parent / "stubs"
SERVER = "Stub-Demo"
_QUICK = {"settled": 0.3, "base": 0.3, "cap": 2.0, "window": 60.0, "limit": 5}
TIMING = {
    "tick": 0.1,
    "quiet_tick": 0.2,
    "probe": 0.15,
    "events": 0.1,
    "sync_floor": 0.1,
    "retry_refused": 0.5,
    "stop_grace": 3.0,
    "probe_late": 0.8,
    "probe_wedged": 1.5,
    "terminal_restart": _QUICK,
    "worker_restart": _QUICK,
    "bot_restart": _QUICK,
    "gateway_restart": _QUICK,
}


def terminal_id(number: int) -> str:
    return f"ter_{number:016d}"


def bot_id(number: int) -> str:
    return f"bot_{number:016d}"


def gone(pid: int) -> bool:
    """Whether there is no such process, or only what is left of it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class AgentNode:
    """Enrolled at construction; `start` runs the agent."""

    def __init__(
        self,
        plane: ControlPlaneStandIn,
        timing: dict[str, Any] | None = None,
        module: str = "stub_agent",
        stubs: Path = STUBS,
        wine_container: WineContainerSettings | None = None,
    ) -> None:
        self.plane = plane
        self._stubs = stubs
        self._module = module
        self.home = Path(tempfile.mkdtemp(prefix="m5", dir="/tmp"))
        self.data = self.home / "data"
        self.layout = DataLayout(self.data.resolve())
        self.log = self.home / "agent.log"
        self.agent: subprocess.Popen[bytes] | None = None
        options = EnrolmentOptions(
            "test-node",
            "127.0.0.1:0",
            "127.0.0.1:0",
            slots=4,
            timing=Timing.model_validate(timing or TIMING),
            wine_container=wine_container,
        )
        enrolment = EnrolmentFile(token="once", url=plane.url, ca_pem=plane.authority.pem)
        asyncio.run(enrol_node(DataLayout.open(self.data), enrolment, options))

    def bound(self, bounds: Bounds) -> None:
        """Other bounds than the product's, from the next start of the agent on."""
        config = load_config(self.layout.config)
        save_config(self.layout.config, config.model_copy(update={"bounds": bounds}))

    def cli(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", self._module, *map(str, arguments)]
        return subprocess.run(command, env=self._environment(), capture_output=True, text=True, timeout=40, check=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.agent = subprocess.Popen(
                [sys.executable, "-m", self._module, "run", "--data", str(self.data)],
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.agent is not None
        self.agent.send_signal(number)
        return self.agent.wait(15)

    def processes(self) -> dict[tuple[str, str], int]:
        """Role and id of the live processes to their pid, as the agent has recorded them."""
        database = Database(self.layout.database)
        handles = StateStore(database).handles()
        database.close()
        return {(handle.slot.role.value, handle.slot.id): handle.pid for handle in handles if is_alive(handle)}

    def desired(self, number: int, password: str = "right", **changes: Any) -> DesiredTerminal:
        """A wish, sealed as the control plane seals it."""
        enrolment = self.plane.seen.enrolment
        assert enrolment is not None
        context = SealContext(
            "ten_0000000000000001", f"acc_{number:016d}", terminal_id(number), changes.get("epoch", 1)
        )
        login, server = changes.get("login", 1000 + number), changes.get("server", SERVER)
        credentials = Credentials(login=login, password=password, server=server)
        values: dict[str, Any] = {
            "terminal_id": terminal_id(number),
            "account_id": context.account_id,
            "tenant_id": context.tenant_id,
            "epoch": 1,
            "running": True,
            "runtime": "simulated",
            "login": credentials.login,
            "server": server,
            "server_address": "127.0.0.1:9",
            "credentials": seal(credentials, enrolment.sealing_key, context),
            "credentials_version": 1,
            "guard": Guard(),
        }
        return DesiredTerminal(**(values | changes))

    def bot(self, number: int, strategy: str = "idle", revision: int = 1) -> DesiredBot:
        return DesiredBot(
            bot_id=bot_id(number),
            revision=revision,
            strategy=strategy,
            symbol="EURUSD",
            timeframe="M1",
            volume=0.1,
            magic=number,
            parameters={},
        )

    def observed(self, number: int) -> ObservedTerminal | None:
        """What the agent said last of a terminal."""
        if not self.plane.seen.syncs:
            return None
        terminals = self.plane.seen.syncs[-1].terminals
        return next((each for each in terminals if each.terminal_id == terminal_id(number)), None)

    def wait_phase(self, number: int, phase: str, seconds: float = 15.0) -> ObservedTerminal:
        def there() -> ObservedTerminal | None:
            seen = self.observed(number)
            return seen if seen is not None and seen.phase == phase else None

        try:
            found: ObservedTerminal = wait_until(there, seconds, f"terminal {number} is {phase}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.observed(number)}\n{self.log.read_text()[-4000:]}") from error
        return found

    def wait_bot(self, number: int, bot_number: int, phase: str, seconds: float = 15.0) -> int:
        """Pid of the bot once it has the phase; 0 when it has no process."""

        def there() -> tuple[int] | None:
            seen = self.observed(number)
            bots = {bot.bot_id: bot for bot in seen.bots} if seen else {}
            bot = bots.get(bot_id(bot_number))
            return (bot.pid or 0,) if bot is not None and bot.phase == phase else None

        found: tuple[int] = wait_until(there, seconds, f"bot {bot_number} is {phase}")
        return found[0]

    def processes_of(self, number: int) -> dict[str, int]:
        """Role to pid of one terminal with one bot."""
        database = Database(self.layout.database)
        handles = StateStore(database).handles()
        database.close()
        mine = [each for each in handles if each.slot.owner == terminal_id(number) and is_alive(each)]
        return {handle.slot.role.value: handle.pid for handle in mine}

    def logins(self, number: int) -> list[str]:
        """The passwords with which the terminal was started, in order."""
        path = self.layout.terminal(terminal_id(number)).root / "logins"
        return path.read_text().split() if path.exists() else []

    def write_deals(self, number: int, tickets: list[int]) -> None:
        """Set the terminal's whole history."""
        deals = [
            {"ticket": ticket, "time": 1_767_600_000 + ticket, "symbol": "EURUSD", "volume": 0.1} for ticket in tickets
        ]
        target = self.layout.terminal(terminal_id(number)).folder / "deals.json"
        partial = target.with_suffix(".new")
        partial.write_text(json.dumps(deals))
        partial.replace(target)

    def deals(self, number: int) -> set[int]:
        """Tickets of the deals that the control plane has of one terminal."""
        events = self.plane.seen.events.values()
        mine = (each.body for each in events if each.terminal_id == terminal_id(number))
        return {body.ticket for body in mine if isinstance(body, DealBody)}

    def clean_up(self) -> None:
        if self.agent is not None and self.agent.poll() is None:
            self.end()
        if self.layout.database.exists():
            stop_everything(self.layout, 3.0, time.time)
        leftovers = [
            process.pid
            for process in psutil.process_iter(["cmdline"])
            if str(self.home) in " ".join(process.info["cmdline"] or [])
        ]
        for pid in leftovers:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.layout.run, ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)
        assert leftovers == [], "down left processes behind"

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join(each for each in (str(self._stubs), os.environ.get("PYTHONPATH")) if each)
        return {**os.environ, "PYTHONPATH": path}
