"""One agent process: the farm's own decisions, on processes and a disk that are simulated.

Real are the plan, the records and health, the roster, the state and spool on disk, the collector, the sync loop and the
delivery of events. What `supervisor.py`, `executor.py` and `monitor.py` do with threads is done here with tasks.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from node_agent.bridge import Target
from node_agent.clock import SteadyClock, as_datetime
from node_agent.collector import Collector
from node_agent.errors import StorageError
from node_agent.executor import PermanentLaunchError
from node_agent.health import Thresholds, judge
from node_agent.identity import NodeKeys
from node_agent.lease import Stage, fences_itself
from node_agent.observation import Link, Problem
from node_agent.plan import (
    WEDGE_LIMIT,
    Action,
    Limits,
    Verb,
    plan,
    terminal_fingerprint,
    wish_fingerprint,
    worker_fingerprint,
)
from node_agent.process import Handle, Role, Slot
from node_agent.protocol.messages import (
    DesiredSnapshot,
    DesiredTerminal,
    NodeReport,
    ObservedTerminal,
    Phase,
    Reason,
)
from node_agent.protocol.sealing import Credentials, SealContext, SealError, unseal
from node_agent.record import TerminalRecord
from node_agent.report import observed_terminal
from node_agent.restarts import RestartPolicy, Restarts
from node_agent.roster import ADOPTED, Exit, Roster
from node_agent.runtimes.base import LaunchError
from node_agent.state import StateStore
from node_agent.sync import deliver_events
from node_agent.watchdog.duty import Duty
from node_agent.watchdog.keeper import SLOT as WATCHDOG_SLOT
from node_agent.watchdog.keeper import WatchdogKeeper
from node_agent.watchdog.lifeline import Lifeline
from tests.simulation.agent_core import TIMING, AgentCore, WatchedSpool, as_link, ask
from tests.simulation.broker import Broker
from tests.simulation.host import Host, OsProcess, SimChildren
from tests.simulation.network import Network, SimLink
from tests.simulation.processes import Reporter, SimBridge, TerminalProcess, WorkerProcess

_THRESHOLDS = Thresholds(
    restart=TIMING.terminal_restart,
    launch_grace=TIMING.launch_grace,
    connect_grace=TIMING.connect_grace,
    quote_fresh=TIMING.quote_fresh,
    probe_late=TIMING.probe_late,
)


@dataclass(frozen=True)
class NodeIdentity:
    node_id: str
    keys: NodeKeys


@dataclass
class SimMonitor:
    """Only what the records look at."""

    target: Target
    busy_since: float | None = None

    def stop(self) -> None:
        """Nothing runs by itself here."""


class SimAgent(OsProcess):
    """Constructing it starts it. It lives until it is ended, and finds everything on its host's disk."""

    def __init__(
        self,
        host: Host,
        identity: NodeIdentity,
        network: Network,
        broker: Broker,
        reporter: Reporter,
        first_interval: float,
        watches: bool,
    ) -> None:
        super().__init__(host, None, "agent")
        self.identity = identity
        self.broker = broker
        self.reporter = reporter
        clocks = host.clocks.moment
        self.state = StateStore(host.disk)
        self.spool = WatchedSpool(host.disk, reporter)
        self.collector = Collector(host.disk, host.clocks.wall)
        self.clock = SteadyClock(self.state.time_base(clocks()), clocks)
        self.roster = Roster(self.state, SimChildren(host), self.clock)
        self.lifeline = Lifeline(host.layout, self.roster, clocks)
        self.watchdog = WatchdogKeeper(
            host.layout,
            self.lifeline,
            self.roster,
            "watchdog",
            TIMING.gateway_restart,
            self.clock,
            Duty(host.folder, clocks),
        )
        self.records: dict[str, TerminalRecord] = {}
        self.desired: dict[str, DesiredTerminal] | None = None
        self._wake = asyncio.Event()
        self._collected: dict[str, int] = {}
        link = SimLink(network, host, identity.node_id, identity.keys, reporter)
        self.core = AgentCore(self, link)
        self.sync = self.core.sync
        self.spawn(self._run(link, first_interval, watches))

    async def _run(self, link: SimLink, first_interval: float, watches: bool) -> None:
        self._recover()
        self.core.begin()
        self.spawn(self._supervise())
        await asyncio.sleep(2.0)
        self.spawn(self.sync.run(first_interval))
        self.spawn(deliver_events(as_link(link), self.spool, TIMING.events))
        if watches:
            self.spawn(self.sync.watch())

    def _recover(self) -> None:
        """Take over what runs here and was never recorded."""
        for process in list(self.host.processes.values()):
            slot = process.slot
            if slot is not None and self.roster.running(slot) is None:
                with suppress(StorageError):
                    # One that cannot be written down is killed by the roster.
                    self.roster.enter(Handle(slot, process.pid, process.birth, self.clock(), ADOPTED))
        for terminal_id in sorted({*self.host.layout.terminals_on_disk(), *self.roster.owners()}):
            self._record(terminal_id)

    def wish(self, snapshot: DesiredSnapshot) -> None:
        self.desired = {terminal.terminal_id: terminal for terminal in snapshot.terminals}
        for terminal in snapshot.terminals:
            self._record(terminal.terminal_id).epoch = terminal.epoch
            process = self._terminal(terminal.terminal_id)
            if process is not None and terminal.running:
                process.epoch = max(process.epoch, terminal.epoch)
        self._wake.set()

    def observed(self) -> list[ObservedTerminal]:
        desired = self.desired or {}
        return [
            observed_terminal(record, desired.get(terminal_id), self.roster, self.clock(), self.clock.dated)
            for terminal_id, record in sorted(self.records.items())
            if record.epoch > 0
        ]

    def node_report(self) -> NodeReport:
        return NodeReport(
            agent_version="0.1.0",
            clock=as_datetime(self.host.clocks.wall()),
            cpu_count=2,
            load_1m=0.1,
            memory_total=64 << 30,
            memory_available=64 << 30,
            disk_free=0 if self.host.disk.full else 1,
            gateway_address="127.0.0.1:4443",
            gateway_up=True,
            spooled_events=len(self.spool),
            watchdog_up=self.watchdog.is_up(),
        )

    def route(self, _keys: object, snapshot: DesiredSnapshot) -> None:
        """What the gateway is told."""
        self.host.routes = {each.terminal_id: each.epoch for each in snapshot.terminals if each.running}

    async def _supervise(self) -> None:
        while True:
            self._wake.clear()
            with suppress(StorageError):
                self.tick()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), TIMING.tick)

    def tick(self) -> None:
        now = self.clock()
        for ended in self.roster.exits():
            if ended.handle.slot == WATCHDOG_SLOT:
                self.watchdog.note_exit(ended)
            else:
                self._note_exit(ended, now)
        self.host.machines.looking = self
        self.watchdog.tick()
        if self.desired is None:
            return
        for terminal_id, record in self.records.items():
            wanted = self.desired.get(terminal_id)
            if wanted is not None and not record.in_flight:
                self._look(record, wanted, now)
        views = {terminal_id: record.view(self.roster) for terminal_id, record in self.records.items()}
        for terminal_id, actions in plan(self.desired, views, now, Limits(), lease_over=self.lease_over()).items():
            record = self._record(terminal_id)
            record.in_flight = True
            self.spawn(self._carry_out(record, self.desired.get(terminal_id), actions))
        for terminal_id, record in self.records.items():
            self._judge(record, self.desired.get(terminal_id), now)

    def lease_over(self) -> bool:
        return self.lifeline.stage() is not Stage.HELD

    def _record(self, terminal_id: str) -> TerminalRecord:
        record = self.records.get(terminal_id)
        if record is None:
            now = self.clock()
            memory = self.state.memory(terminal_id)
            restarts = memory.restarts.plausible(TIMING.terminal_restart, now)
            memory = memory.model_copy(update={"restarts": restarts})
            layout = self.host.layout.terminal(terminal_id)
            record = TerminalRecord(terminal_id, layout, memory, health_since=now, watched_since=now)
            wanted = (self.desired or {}).get(terminal_id)
            record.epoch = wanted.epoch if wanted else 0
            self.records[terminal_id] = record
        return record

    def _terminal(self, terminal_id: str) -> TerminalProcess | None:
        handle = self.roster.running(Slot(Role.TERMINAL, terminal_id))
        process = None if handle is None else self.host.processes.get(handle.pid)
        return process if isinstance(process, TerminalProcess) else None

    def _worker(self, terminal_id: str) -> WorkerProcess | None:
        handle = self.roster.running(Slot(Role.WORKER, terminal_id))
        process = None if handle is None else self.host.processes.get(handle.pid)
        return process if isinstance(process, WorkerProcess) else None

    def _note_exit(self, ended: Exit, now: float) -> None:
        record = self.records.get(ended.handle.slot.owner)
        if record is None:
            return
        wanted = (self.desired or {}).get(record.terminal_id)
        if ended.handle.slot.role is Role.TERMINAL and wanted and fences_itself(wanted) and self.lease_over():
            record.terminal_gone()
        elif ended.handle.slot.role is Role.TERMINAL:
            restarts = _after_exit(record.memory.restarts, TIMING.terminal_restart, ended.handle, now)
            record.memory = record.memory.model_copy(update={"restarts": restarts})
            record.terminal_gone()
            self._remember(record)
        else:
            record.worker_restarts = _after_exit(record.worker_restarts, TIMING.worker_restart, ended.handle, now)
            record.probe = None
        self.sync.nudge()

    def _look(self, record: TerminalRecord, desired: DesiredTerminal, now: float) -> None:
        """What a monitor does: ask through the worker, and collect."""
        worker, terminal = self._worker(record.terminal_id), self._terminal(record.terminal_id)
        if worker is None:
            record.drop_monitor()
            return
        if record.monitor is None:
            record.monitor = _as_monitor(SimMonitor(Target.of(desired, record.layout)))
        if worker.frozen:
            if record.monitor.busy_since is None:
                record.monitor.busy_since = now
            return
        record.monitor.busy_since = None
        probe = ask(worker, terminal, desired, now)
        if record.saw(probe, desired):
            self._remember(record)
        if probe.link is Link.AUTHORISED:
            self._collect(record, desired, worker)

    def _collect(self, record: TerminalRecord, desired: DesiredTerminal, worker: WorkerProcess) -> None:
        bridge: Any = SimBridge(worker, self.broker)
        target = Target.of(desired, record.layout)
        journal = self.host.journals.get(record.terminal_id, [])
        newest = max((int(str(row["sequence"])) for row in journal), default=0)
        self.collector.collect_journal(bridge, target, newest)
        deals = len(self.broker.accounts[desired.login].deals)
        if deals != self._collected.get(record.terminal_id):
            self.collector.collect_deals(bridge, target)
            self._collected[record.terminal_id] = deals

    async def _carry_out(self, record: TerminalRecord, desired: DesiredTerminal | None, actions: list[Action]) -> None:
        chance = self.host.chance
        try:
            for action in actions:
                await asyncio.sleep(chance.choice((0.05, 0.5, 2.0)))
                try:
                    self._perform(record, action, desired)
                except (LaunchError, StorageError, OSError) as error:
                    self._failed(record, desired, action, error)
                    return
                self._done(record, desired, action)
            self._wake.set()
        finally:
            record.in_flight = False
            self.sync.nudge()

    def _perform(self, record: TerminalRecord, action: Action, desired: DesiredTerminal | None) -> None:
        terminal_id = action.terminal_id
        match action.verb:
            case Verb.STOP_WORKER | Verb.KILL_WORKER:
                self.roster.stop(Slot(Role.WORKER, terminal_id), 1.0)
            case Verb.STOP_TERMINAL | Verb.REFUSE_TERMINAL:
                process = self._terminal(terminal_id)
                if process is not None:
                    handle = self.roster.running(process.slot)
                    unknown = handle is not None and handle.fingerprint == ADOPTED
                    # An action that was planned while the lease was over is not taken back when it is renewed.
                    fenced = desired is not None and fences_itself(desired)
                    process.may_restart = unknown or fenced or len(record.wedges) >= WEDGE_LIMIT
                    self.reporter.stopping(process, action.verb.value)
                self.roster.stop(Slot(Role.TERMINAL, terminal_id), 1.0)
            case Verb.COLLECT:
                worker = self._worker(terminal_id)
                terminal = self._terminal(terminal_id)
                if worker and terminal and terminal.logged_in and desired:
                    self._collect(record, desired, worker)
            case Verb.DESTROY:
                shutil.rmtree(record.layout.root, ignore_errors=True)
                self.host.journals.pop(terminal_id, None)
                self.state.forget_terminal(terminal_id)
            case Verb.START_TERMINAL:
                assert desired is not None
                self._start_terminal(desired)
            case Verb.START_WORKER:
                assert desired is not None
                self._check_lease(desired)
                worker_slot = Slot(Role.WORKER, terminal_id)
                self._enter(
                    worker_slot,
                    lambda: WorkerProcess(self.host, worker_slot, desired.epoch, desired.login),
                    worker_fingerprint(desired),
                )
            case _:
                return

    def _start_terminal(self, desired: DesiredTerminal) -> None:
        credentials = self._open_credentials(desired)
        if self.host.disk.full:
            raise LaunchError(Reason.DISK_FULL, "The disk of the node is full.")
        self.host.layout.terminal(desired.terminal_id).root.mkdir(parents=True, exist_ok=True)
        self._check_lease(desired)
        slot = Slot(Role.TERMINAL, desired.terminal_id)
        self._enter(
            slot,
            lambda: TerminalProcess(
                self.host,
                slot,
                self.broker,
                credentials.login,
                credentials.password,
                desired.epoch,
                self.identity.node_id,
                self.reporter,
                terminal_fingerprint(desired),
            ),
            terminal_fingerprint(desired),
        )

    def _check_lease(self, desired: DesiredTerminal) -> None:
        if not self.lifeline.may_start(desired.terminal_id):
            raise LaunchError(Reason.LEASE_EXPIRED, "The node has lost touch with the farm.")

    def _enter(self, slot: Slot, make: Callable[[], OsProcess], fingerprint: str) -> None:
        process = make()
        self.roster.enter(Handle(slot, process.pid, process.birth, self.clock(), fingerprint))

    def _open_credentials(self, desired: DesiredTerminal) -> Credentials:
        context = SealContext(desired.tenant_id, desired.account_id, desired.terminal_id, desired.epoch)
        try:
            return unseal(desired.credentials, self.identity.keys.sealing, context)
        except (SealError, ValueError) as error:
            raise PermanentLaunchError(Reason.BAD_CREDENTIALS, "cannot be opened") from error

    def _done(self, record: TerminalRecord, desired: DesiredTerminal | None, action: Action) -> None:
        record.done(action, desired, self.clock(), TIMING.retry_refused)
        if action.verb is Verb.DESTROY:
            del self.records[record.terminal_id]
            if record.terminal_id in (self.desired or {}):
                self._record(record.terminal_id)
        elif action.verb in {Verb.REFUSE_TERMINAL, Verb.LIFT, Verb.FINISH_REQUEST}:
            self._remember(record)

    def _failed(
        self, record: TerminalRecord, desired: DesiredTerminal | None, action: Action, error: Exception
    ) -> None:
        if desired is not None and action.verb in {Verb.START_TERMINAL, Verb.START_WORKER}:
            reason = error.reason if isinstance(error, LaunchError) else Reason.DISK_FULL
            permanent = isinstance(error, PermanentLaunchError)
            record.problem = Problem(reason, str(error), permanent, wish_fingerprint(desired))
        delayed = self.clock() + TIMING.terminal_restart.base
        if action.verb is Verb.START_TERMINAL:
            restarts = record.memory.restarts.delayed_until(delayed)
            record.memory = record.memory.model_copy(update={"restarts": restarts})
        elif action.verb is Verb.START_WORKER:
            record.worker_restarts = record.worker_restarts.delayed_until(delayed)

    def _remember(self, record: TerminalRecord) -> None:
        with suppress(StorageError):
            self.state.save_memory(record.terminal_id, record.memory)

    def _judge(self, record: TerminalRecord, desired: DesiredTerminal | None, now: float) -> None:
        health = judge(desired, record.view(self.roster), now, _THRESHOLDS, lease_over=self.lease_over())
        record.was_ready = record.was_ready or health.phase is Phase.READY
        if (health.phase, health.reason) != (record.health.phase, record.health.reason):
            record.health_since = now
            self.sync.nudge()
        record.health = health


def _as_monitor(monitor: SimMonitor) -> Any:
    return monitor


def _after_exit(restarts: Restarts, policy: RestartPolicy, handle: Handle, now: float) -> Restarts:
    return restarts.after_exit(policy, handle.started_at, now, 0.0)
