"""Carries out the actions of the plan. Blocks; called from worker threads, never twice at a time for one terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from node_agent.bots.code import CodeShelf
from node_agent.bots.launch import start_bot
from node_agent.bots.quarters import LinuxQuarters, Quarters
from node_agent.bridge import Connect, Target
from node_agent.bundles import pack_logs
from node_agent.config import Bounds, Timing
from node_agent.errors import AgentError, StorageError
from node_agent.files import private_folder, write_atomically
from node_agent.identity import NodeKeys
from node_agent.layout import DataLayout, TerminalLayout
from node_agent.monitor import Monitor
from node_agent.plan import Action, Verb, terminal_fingerprint, worker_fingerprint
from node_agent.process import Handle, Role, Slot
from node_agent.protocol.messages import DesiredBot, DesiredTerminal, Reason
from node_agent.protocol.sealing import Credentials, SealContext, SealError, unseal
from node_agent.roster import Roster
from node_agent.runtimes.base import LaunchError, Runtime, TerminalSpec, Usage
from node_agent.runtimes.simulated import SimulatedRuntime
from node_agent.state import StateStore
from node_agent.worker import Modules, write_worker_config

_log = structlog.get_logger(__name__)
_COLLECT_SECONDS = 3.0


class PermanentLaunchError(LaunchError):
    """Trying again cannot help until the wish changes."""


class NotFlatError(AgentError):
    """The account is not flat, or nobody knows."""


@dataclass(frozen=True)
class ExecutorParts:
    layout: DataLayout
    roster: Roster
    state: StateStore
    runtimes: Mapping[str, Runtime]
    keys: NodeKeys
    modules: Modules
    timing: Timing
    connect: Connect
    bounds: Bounds = field(default_factory=Bounds)
    rescue: Callable[[TerminalLayout], object] = lambda _: None
    """Called before a terminal's folder is removed, to take what must not be lost out of it."""
    code: CodeShelf | None = None
    quarters: Quarters = field(default_factory=LinuxQuarters)
    may_start: Callable[[str], bool] = lambda _: True
    """Asked, with a terminal's id, as late as possible before anything of it is started: False when its lease is over.
    """


class Executor:
    """`perform` raises LaunchError, OSError, StorageError, or what the bridge raises."""

    def __init__(self, parts: ExecutorParts) -> None:
        self._parts = parts

    def perform(self, action: Action, desired: DesiredTerminal | None, monitor: Monitor | None) -> None:
        """`desired` is None only for a terminal that is to be destroyed."""
        roster, grace = self._parts.roster, self._parts.timing.stop_grace
        terminal_id = action.terminal_id
        match action.verb:
            case Verb.STOP_BOT:
                roster.stop(Slot(Role.BOT, terminal_id, action.bot_id), grace)
                self._parts.quarters.clear(self._parts.layout.terminal(terminal_id), action.bot_id)
            case Verb.STOP_WORKER:
                roster.stop(Slot(Role.WORKER, terminal_id), grace)
            case Verb.KILL_WORKER:
                roster.kill(Slot(Role.WORKER, terminal_id))
            case Verb.STOP_TERMINAL | Verb.REFUSE_TERMINAL | Verb.REJECT_TERMINAL:
                self._present_runtime(terminal_id).stop(self.spec(terminal_id, desired), grace)
            case Verb.COLLECT:
                if monitor is not None and not monitor.collect_now(_COLLECT_SECONDS):
                    _log.warning("last_collection_late", terminal=terminal_id)
            case Verb.COLLECT_LOGS:
                pack_logs(self._parts.layout, terminal_id, action.request_id)
            case Verb.DESTROY:
                self._parts.rescue(self._parts.layout.terminal(terminal_id))
                self._parts.quarters.demolish(self._parts.layout.terminal(terminal_id))
                self._present_runtime(terminal_id).destroy(self.spec(terminal_id, desired))
                self._parts.state.forget_terminal(terminal_id)
            case Verb.LIFT | Verb.FINISH_REQUEST:
                return
            case _:
                assert desired is not None
                self._start(action, desired)

    def _check_lease(self, desired: DesiredTerminal) -> None:
        if not self._parts.may_start(desired.terminal_id):
            raise LaunchError(Reason.LEASE_EXPIRED, "The node has lost touch with the farm, so nothing is started.")

    def _start(self, action: Action, desired: DesiredTerminal) -> None:
        layout = self._parts.layout.terminal(desired.terminal_id)
        match action.verb:
            case Verb.START_TERMINAL:
                self._start_terminal(desired)
            case Verb.START_WORKER:
                runtime, spec = self._runtime(desired), self.spec(desired.terminal_id, desired)
                seat = runtime.worker_seat(spec)
                write_worker_config(layout, desired, seat)
                self._check_lease(desired)
                if layout.lease.exists():
                    seat.share(layout.lease)
                runtime.start_worker(spec, worker_fingerprint(desired))
            case Verb.CONFIGURE_WORKER:
                self._configure_worker(desired)
            case Verb.PAUSE_TRADING | Verb.CHECK_FLAT:
                self._make_sure(action.verb, desired)
            case Verb.START_BOT:
                bot = next(bot for bot in desired.bots if bot.bot_id == action.bot_id)
                self._check_lease(desired)
                self._parts.roster.stop(Slot(Role.BOT, desired.terminal_id, bot.bot_id), self._parts.timing.stop_grace)
                code = self._code(bot)
                start_bot(self._parts.roster, layout, desired, bot, self._parts.modules.bot, self._parts.quarters, code)

    def _code(self, bot: DesiredBot) -> Path | None:
        if bot.code is None:
            return None
        if self._parts.code is None:
            raise OSError("this agent has nowhere to keep code")
        return self._parts.code.take(bot.code)

    def _start_terminal(self, desired: DesiredTerminal) -> None:
        runtime = self._runtime(desired)
        spec = self.spec(desired.terminal_id, desired)
        credentials = self._open_credentials(desired)
        if not spec.layout.root.is_dir():
            private_folder(spec.layout.root)
        write_atomically(spec.layout.runtime, runtime.name.encode())
        write_atomically(spec.layout.account, desired.account_id.encode())
        runtime.prepare(spec, credentials)
        try:
            self._check_lease(desired)
            runtime.start(spec)
        except (LaunchError, StorageError, OSError):
            runtime.forget_credentials(spec)
            raise

    def _open_credentials(self, desired: DesiredTerminal) -> Credentials:
        context = SealContext(desired.tenant_id, desired.account_id, desired.terminal_id, desired.epoch)
        try:
            credentials = unseal(desired.credentials, self._parts.keys.sealing, context)
        except (SealError, ValueError) as error:
            raise PermanentLaunchError(
                Reason.BAD_CREDENTIALS, "The stored credentials cannot be opened on this node; enter them again."
            ) from error
        if (credentials.login, credentials.server) != (desired.login, desired.server):
            raise PermanentLaunchError(
                Reason.BAD_CREDENTIALS, "The stored credentials are those of another account; enter them again."
            )
        return credentials

    def _configure_worker(self, desired: DesiredTerminal) -> None:
        layout = self._parts.layout.terminal(desired.terminal_id)
        seat = self._runtime(desired).worker_seat(self.spec(desired.terminal_id, desired))
        # On disk first, so that a worker that restarts in between has the new limits as well.
        write_worker_config(layout, desired, seat)
        bridge = self._parts.connect(Target.of(desired, layout))
        try:
            bridge.configure({"guard": desired.guard.model_dump(), "epoch": desired.epoch})
        finally:
            bridge.close()

    def _make_sure(self, verb: Verb, desired: DesiredTerminal) -> None:
        """That nothing is opened from now on, and then that nothing is open. Raises NotFlatError."""
        bridge = self._parts.connect(Target.of(desired, self._parts.layout.terminal(desired.terminal_id)))
        try:
            if verb is Verb.PAUSE_TRADING:
                paused = desired.guard.model_copy(update={"trading": False})
                bridge.configure({"guard": paused.model_dump()})
                return
            pulse = bridge.pulse(0)
            if pulse.get("positions") != 0 or pulse.get("orders") != 0:
                raise NotFlatError("the account has positions or orders by now, so its terminal is not started anew")
        finally:
            bridge.close()

    def spec(self, terminal_id: str, desired: DesiredTerminal | None) -> TerminalSpec:
        """A terminal that nobody wants any more can still be stopped and destroyed: that needs its id only."""
        layout = self._parts.layout.terminal(terminal_id)
        if desired is None:
            return TerminalSpec(terminal_id, "", None, layout, "")
        fingerprint = terminal_fingerprint(desired)
        return TerminalSpec(terminal_id, desired.server, desired.server_address, layout, fingerprint, desired.template)

    def recover(self, terminal_ids: Iterable[str]) -> list[Handle]:
        """What runs of these terminals and was missing in the roster.

        A runtime that cannot look is skipped: the handles that are known still hold, and none must hide the others.
        """
        specs: dict[str, list[TerminalSpec]] = {}
        for terminal_id in sorted(terminal_ids):
            specs.setdefault(self._present_name(terminal_id), []).append(self.spec(terminal_id, None))
        found = []
        for name, terminals in specs.items():
            try:
                found += self._named(name).recover(terminals)
            except (LaunchError, OSError) as error:
                _log.error("not_recovered", runtime=name, terminals=len(terminals), error=str(error))
        return found

    def stats(self, terminal_id: str) -> Usage | None:
        return self._present_runtime(terminal_id).stats(self.spec(terminal_id, None))

    def _present_runtime(self, terminal_id: str) -> Runtime:
        """The one that has made what is on disk and running, which need not be the one that is desired."""
        return self._named(self._present_name(terminal_id))

    def _present_name(self, terminal_id: str) -> str:
        noted = self._parts.layout.terminal(terminal_id).runtime
        return noted.read_text() if noted.exists() else SimulatedRuntime.name

    def _runtime(self, desired: DesiredTerminal) -> Runtime:
        return self._named(desired.runtime)

    def _named(self, name: str) -> Runtime:
        runtime = self._parts.runtimes.get(name)
        if runtime is None:
            raise PermanentLaunchError(Reason.TEMPLATE_BROKEN, f"This node cannot run terminals of the kind {name!r}.")
        return runtime

    def forget_credentials(self, desired: DesiredTerminal) -> None:
        """After the broker has accepted the login."""
        self._runtime(desired).forget_credentials(self.spec(desired.terminal_id, desired))
