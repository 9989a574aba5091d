"""Keeps the terminals of this node as they should be: look, plan, act, judge, once or twice a second.

Everything here runs on the event loop; what blocks is done by the executor's threads and the monitors' threads.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import random
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog

from mt5_bridge.client import BridgeError
from node_agent.bots.launch import bot_command, keeper_command
from node_agent.bots.report import read_status
from node_agent.bridge import Target
from node_agent.config import Timing
from node_agent.errors import AgentError, StorageError
from node_agent.executor import Executor, ExecutorParts, PermanentLaunchError
from node_agent.growths import Growths
from node_agent.health import Thresholds, judge, judge_bot
from node_agent.lease import fences_itself
from node_agent.monitor import Monitor, MonitorParts
from node_agent.observation import Probe, Problem, TerminalView
from node_agent.plan import Action, Limits, Verb, plan, wish_fingerprint
from node_agent.pressure import Shortage
from node_agent.process import Handle, Role, Slot
from node_agent.protocol.messages import DesiredSnapshot, DesiredTerminal, ObservedTerminal, Phase, Reason
from node_agent.quarantine import Strikes
from node_agent.record import BotRecord, TerminalRecord
from node_agent.report import observed_terminal
from node_agent.restarts import RestartPolicy, Restarts
from node_agent.roster import Candidate, Exit
from node_agent.runtimes.base import LaunchError
from node_agent.surroundings import Surroundings

_log = structlog.get_logger(__name__)
_PARALLEL_ACTIONS = 8
_BOT_GAVE_UP = frozenset({2, 3})
_WORKER_WEDGED = 70


class Supervisor:
    """`recover` once, then `run`; `wish` whenever there is a new snapshot."""

    def __init__(self, parts: ExecutorParts, monitors: MonitorParts, surroundings: Surroundings) -> None:
        self._parts = parts
        self._monitors = monitors
        self._surroundings = surroundings
        self._clock = surroundings.clock
        self._changed = surroundings.changed
        self._timing: Timing = parts.timing
        self._bounds = parts.bounds
        self._executor = Executor(parts)
        self._growths = Growths(parts.roster, self._executor.stats, self._bounds.recycle)
        self._pool = ThreadPoolExecutor(_PARALLEL_ACTIONS, thread_name_prefix="action")
        self._tasks: set[asyncio.Task[None]] = set()
        self._records: dict[str, TerminalRecord] = {}
        self._desired: dict[str, DesiredTerminal] | None = None
        self.exits: Counter[str] = Counter({role.value: 0 for role in Role})
        """How many processes have ended by themselves, by role."""
        self._wake = asyncio.Event()
        self._probes: deque[tuple[TerminalRecord, Monitor, Probe]] = deque()
        """From the monitors' threads."""
        self._probed = asyncio.Event()
        self._thresholds = Thresholds(
            restart=self._timing.terminal_restart,
            launch_grace=self._timing.launch_grace,
            connect_grace=self._timing.connect_grace,
            quote_fresh=self._timing.quote_fresh,
            probe_late=self._timing.probe_late,
        )

    def recover(self) -> None:
        """Find what an earlier agent left running. Call once, before the first tick."""
        layout, modules = self._parts.layout, self._parts.modules
        known = {*layout.terminals_on_disk(), *self._parts.roster.owners()}
        candidates = []
        for terminal_id in known:
            terminal = layout.terminal(terminal_id)
            for folder in terminal.bots.iterdir() if terminal.bots.is_dir() else ():
                bot = terminal.bot(folder.name)
                for command in (
                    bot_command(bot, modules.bot),
                    keeper_command(self._parts.quarters, terminal, folder.name),
                ):
                    candidates.append(Candidate(Slot(Role.BOT, terminal_id, folder.name), tuple(command)))
        adopted = self._parts.roster.adopt(candidates)
        adopted += self._executor.recover(known)
        for terminal_id in sorted(known):
            self._record(terminal_id)
        for handle in adopted:
            _log.warning("orphan_adopted", role=handle.slot.role.value, id=handle.slot.id, pid=handle.pid)

    def wish(self, snapshot: DesiredSnapshot) -> None:
        """What should run from now on."""
        self._desired = {terminal.terminal_id: terminal for terminal in snapshot.terminals}
        for terminal in snapshot.terminals:
            self._record(terminal.terminal_id).epoch = terminal.epoch
        self.nudge()

    def nudge(self) -> None:
        """Look again at once."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()

        def nudge() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self.nudge)

        self._parts.roster.on_death(nudge)
        while True:
            self._wake.clear()
            try:
                self.tick()
            except (StorageError, OSError) as error:
                # A full disk or a vanished file must not end the watch; the next tick plans everything anew.
                _log.error("tick_failed", error=str(error))
            # Not wait_for: when it is cancelled just as its time is up it loses the cancellation (Python 3.11).
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()

    def _pause(self) -> float:
        """Seconds until the next look. Where all is at rest, what changes that is told at once, but for time itself."""
        return max(self._timing.tick, self._timing.quiet_tick) if self._is_at_rest() else self._timing.tick

    def _is_at_rest(self) -> bool:
        around = self._surroundings
        kept = all(self._parts.roster.running(slot) is not None for slot in around.keepers)
        known = self._desired is not None and kept and around.lease_fresh()
        return known and all(record.is_at_rest() for record in self._records.values())

    async def close(self) -> None:
        """Stop watching and finish the actions in flight; every process stays as it is."""
        for record in self._records.values():
            record.drop_monitor()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._timing.stop_grace + 1)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def tick(self) -> None:
        """One look at the node. Before the first snapshot nothing is known to be wanted or unwanted."""
        now = self._clock()
        for ended in self._parts.roster.exits():
            self.exits[ended.handle.slot.role.value] += 1
            if keeper := self._surroundings.keepers.get(ended.handle.slot):
                keeper.note_exit(ended)
            else:
                self._note_exit(ended, now)
        for keeper in self._surroundings.keepers.values():
            keeper.tick()
        if self._desired is None:
            return
        self._keep_monitors(self._desired)
        self._take_probes()
        views = {terminal_id: record.view(self._parts.roster) for terminal_id, record in self._records.items()}
        limits = Limits(self._timing.probe_wedged, self._bounds.starts, self._timing.launch_grace)
        over, short = self._surroundings.lease_over(), self._surroundings.short_of()
        steps = plan(
            self._desired,
            views,
            now,
            limits,
            lease_over=over,
            may_start=short.isdisjoint({"memory", "disk"}),
            recycle=self._growths.to_recycle(self._records, self._pool, now, short_of_memory="memory" in short),
        )
        for terminal_id, actions in steps.items():
            self._begin(self._record(terminal_id), self._desired.get(terminal_id), actions)
        for terminal_id, record in self._records.items():
            view = None if record.in_flight else views.get(terminal_id)
            self._judge_one(record, self._desired.get(terminal_id), now, over, short, view)

    def observed(self) -> list[ObservedTerminal]:
        """Everything the control plane has named to this node, as seen now."""
        desired, dated = self._desired or {}, self._surroundings.dated
        return [
            observed_terminal(record, desired.get(terminal_id), self._parts.roster, self._clock(), dated)
            for terminal_id, record in sorted(self._records.items())
            if record.epoch > 0
        ]

    def phases(self) -> list[Phase]:
        """Of every terminal that the control plane has named."""
        return [record.health.phase for record in self._records.values() if record.epoch > 0]

    async def until_seen(self) -> None:
        """Returns when every terminal that has a worker has been asked at least once."""
        while any(record.monitor is not None and record.probe is None for record in self._records.values()):
            self._probed.clear()
            await self._probed.wait()

    def disk_errors(self) -> list[str]:
        errors = (record.monitor.disk_error for record in self._records.values() if record.monitor)
        return sorted({error for error in errors if error})

    def _record(self, terminal_id: str) -> TerminalRecord:
        record = self._records.get(terminal_id)
        if record is None:
            now = self._clock()
            memory = self._parts.state.memory(terminal_id)
            restarts = memory.restarts.plausible(self._timing.terminal_restart, now)
            memory = memory.model_copy(update={"restarts": restarts})
            layout = self._parts.layout.terminal(terminal_id)
            wanted = (self._desired or {}).get(terminal_id)
            record = TerminalRecord(terminal_id, layout, memory, health_since=now, watched_since=now)
            record.epoch = wanted.epoch if wanted else 0
            self._records[terminal_id] = record
        return record

    def _note_exit(self, ended: Exit, now: float) -> None:
        handle = ended.handle
        _log.warning("process_exited", role=handle.slot.role.value, id=handle.slot.id, pid=handle.pid, code=ended.code)
        record = self._records.get(handle.slot.owner)
        if record is None:
            return
        match handle.slot.role:
            case Role.TERMINAL if self._is_fenced(handle.slot.owner):
                record.terminal_gone()  # the watchdog was faster; nothing has crashed
            case Role.TERMINAL:
                restarts = self._after_exit(record.memory.restarts, self._timing.terminal_restart, handle, now)
                changes = {"restarts": restarts, "out_of_memory": ended.out_of_memory}
                record.memory = record.memory.model_copy(update=changes)
                record.terminal_gone()
                self._remember(record)
            case Role.WORKER:
                record.worker_restarts = self._after_exit(
                    record.worker_restarts, self._timing.worker_restart, handle, now
                )
                record.probe = None
                if ended.code == _WORKER_WEDGED:
                    record.wedged(now)
            case Role.BOT:
                self._note_bot_exit(record, ended, now)
        self._changed()

    def _is_fenced(self, terminal_id: str) -> bool:
        wanted = (self._desired or {}).get(terminal_id)
        return wanted is not None and fences_itself(wanted) and self._surroundings.lease_over()

    def _note_bot_exit(self, record: TerminalRecord, ended: Exit, now: float) -> None:
        bot = record.bots.setdefault(ended.handle.slot.bot_id, BotRecord())
        status = read_status(record.layout.bot(ended.handle.slot.bot_id))
        bot.detail = status.detail if status else ""
        # The exit code of a bot that an earlier agent started is not ours to read; its last words say the same.
        gave_up = ended.code in _BOT_GAVE_UP or (ended.code is None and status is not None and status.phase == "failed")
        if gave_up:
            bot.failed_fingerprint = ended.handle.fingerprint
        bot.restarts = self._after_exit(bot.restarts, self._timing.bot_restart, ended.handle, now)

    def _after_exit(self, restarts: Restarts, policy: RestartPolicy, handle: Handle, now: float) -> Restarts:
        jitter = random.uniform(-1, 1)  # noqa: S311 - spreads restarts, guards nothing
        return restarts.after_exit(policy, handle.started_at, now, jitter)

    def _keep_monitors(self, desired: dict[str, DesiredTerminal]) -> None:
        """A monitor for each worker that serves a wanted terminal."""
        for terminal_id, record in self._records.items():
            wanted = desired.get(terminal_id)
            if wanted is None or record.in_flight:
                continue
            target = Target.of(wanted, record.layout)
            if record.monitor is not None and record.monitor.target != target:
                record.drop_monitor()
            alive = self._parts.roster.running(Slot(Role.WORKER, terminal_id)) is not None
            if record.monitor is None and alive and wanted.running:
                record.monitor = self._start_monitor(record, target)

    def _start_monitor(self, record: TerminalRecord, target: Target) -> Monitor:
        loop = asyncio.get_running_loop()

        def publish(probe: Probe) -> None:
            self._probes.append((record, monitor, probe))
            # What says nothing new waits for the next tick: a hundred terminals would wake the loop all the time.
            if record.health.phase is Phase.READY and record.probe and not _says_more(record.probe, probe):
                return
            # The loop may have ended while the monitor was waiting for its terminal.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._take_probes)

        monitor = Monitor(target, self._monitors, publish, lambda: sorted(record.bots))
        monitor.start()
        return monitor

    def _take_probes(self) -> None:
        while self._probes:
            self._saw(*self._probes.popleft())

    def _saw(self, record: TerminalRecord, monitor: Monitor, probe: Probe) -> None:
        desired = (self._desired or {}).get(record.terminal_id)
        terminal = self._parts.roster.running(Slot(Role.TERMINAL, record.terminal_id))
        if record.monitor is not monitor or desired is None or (terminal and probe.at < terminal.started_at):
            return
        before = record.probe
        self._probed.set()
        if _guard_facts(before) != _guard_facts(probe):
            self._changed()  # somebody may be waiting for it
        if record.saw(probe, desired):
            self._remember(record)
            self._pool.submit(self._executor.forget_credentials, desired)
            self.nudge()
        elif before is None:
            self.nudge()
        # The next tick judges the rest; what changes the phase is told at once.
        if before is None or _says_more(before, probe) or record.health.phase is not Phase.READY:
            around = self._surroundings
            self._judge_one(record, desired, self._clock(), around.lease_over(), around.short_of())

    def _begin(self, record: TerminalRecord, desired: DesiredTerminal | None, actions: list[Action]) -> None:
        record.in_flight = True
        task = asyncio.create_task(self._carry_out(record, desired, actions))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, record: TerminalRecord, desired: DesiredTerminal | None, actions: list[Action]) -> None:
        loop = asyncio.get_running_loop()
        try:
            for action in actions:
                work = functools.partial(self._executor.perform, action, desired, record.monitor)
                try:
                    await loop.run_in_executor(self._pool, work)
                except Exception as error:  # noqa: BLE001 - a runtime that fails in a way of its own must not go unseen
                    # Not looked at again at once: what fails without a pause of its own would fail in a busy loop.
                    self._failed(record, desired, action, error)
                    return
                self._done(record, desired, action)
            self.nudge()
        finally:
            record.in_flight = False
            self._changed()

    def _done(self, record: TerminalRecord, desired: DesiredTerminal | None, action: Action) -> None:
        record.done(action, desired, self._clock(), self._timing.retry_refused)
        if action.verb is Verb.DESTROY:
            record.drop_monitor()
            self._monitors.calls.forget(record.terminal_id)
            del self._records[record.terminal_id]
            _log.info("terminal_destroyed", terminal=record.terminal_id)
            if record.terminal_id in (self._desired or {}):
                self._record(record.terminal_id)  # wanted again in the meantime: it must be reported
        elif action.verb in {Verb.REFUSE_TERMINAL, Verb.REJECT_TERMINAL, Verb.LIFT, Verb.FINISH_REQUEST}:
            self._remember(record)

    def _failed(
        self, record: TerminalRecord, desired: DesiredTerminal | None, action: Action, error: Exception
    ) -> None:
        now = self._clock()
        foreseen = isinstance(error, LaunchError | AgentError | BridgeError | OSError | EOFError)
        trace = None if foreseen else error
        _log.error(
            "action_failed", action=action.verb.value, terminal=record.terminal_id, error=repr(error), exc_info=trace
        )
        if desired is not None and action.verb in {Verb.START_TERMINAL, Verb.START_WORKER}:
            record.problem = _problem(error, desired)
            if isinstance(error, LaunchError):
                record.strike(error.reason, desired)
                self._remember(record)
        delayed = now + _pause(self._timing.terminal_restart, record.memory.strikes)
        match action.verb:
            case Verb.START_TERMINAL:
                restarts = record.memory.restarts.delayed_until(delayed)
                record.memory = record.memory.model_copy(update={"restarts": restarts})
            case Verb.START_WORKER:
                record.worker_restarts = record.worker_restarts.delayed_until(delayed)
            case Verb.START_BOT:
                bot = record.bots.setdefault(action.bot_id, BotRecord())
                bot.restarts = bot.restarts.delayed_until(delayed)

    def _remember(self, record: TerminalRecord) -> None:
        try:
            self._parts.state.save_memory(record.terminal_id, record.memory)
        except StorageError as error:
            _log.error("memory_not_saved", terminal=record.terminal_id, error=str(error))

    def _judge_one(
        self,
        record: TerminalRecord,
        desired: DesiredTerminal | None,
        now: float,
        over: bool,
        short: frozenset[Shortage],
        view: TerminalView | None = None,
    ) -> None:
        """`view` saves a look when there was one a moment ago."""
        view = view or record.view(self._parts.roster)
        health = judge(desired, view, now, self._thresholds, lease_over=over, short_of=short)
        record.was_ready = record.was_ready or health.phase is Phase.READY
        if (health.phase, health.reason) != (record.health.phase, record.health.reason):
            record.health_since = now
            reason = health.reason.value if health.reason else None
            _log.info("phase", terminal=record.terminal_id, phase=health.phase.value, reason=reason)
            self._changed()
        record.health = health
        wanted = {bot.bot_id: bot for bot in desired.bots} if desired else {}
        for bot_id, bot_view in view.bots.items():
            bot = record.bots[bot_id]
            phase, detail = judge_bot(desired, wanted.get(bot_id), bot_view, now)
            if phase is not bot.phase or not bot.since:
                bot.since = now
                self._changed()
            bot.phase, bot.detail = phase, detail


def _says_more(before: Probe, probe: Probe) -> bool:
    facts = ("link", "login", "server", "connected", "trade_allowed")
    return any(getattr(before, name) != getattr(probe, name) for name in facts)


def _guard_facts(probe: Probe | None) -> object:
    """What the farm is told of a guard at once, and not with the next sync."""
    guard = probe.guard if probe else None
    if guard is None:
        return None
    open_ = (guard.positions, guard.orders) if guard.kill_id or guard.trips else None
    return guard.trips, guard.kill_id, guard.rearm_id, guard.flat, guard.problem, guard.closing_problem, open_


def _pause(policy: RestartPolicy, strikes: Strikes) -> float:
    """Before a start that failed is tried again. Longer each time for what is soon given up for good."""
    return min(policy.cap, policy.base * 4.0 ** max(0, strikes.count - 1))


def _problem(error: Exception, desired: DesiredTerminal) -> Problem:
    wish = wish_fingerprint(desired)
    if isinstance(error, LaunchError):
        return Problem(error.reason, str(error), isinstance(error, PermanentLaunchError), wish)
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if full or (isinstance(error, StorageError) and "full" in str(error)):
        return Problem(Reason.DISK_FULL, "The disk of the node is full.", wish=wish)
    return Problem(Reason.TEMPLATE_BROKEN, "The terminal cannot be started on this node at the moment.", wish=wish)
