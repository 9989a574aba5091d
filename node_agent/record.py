"""What the supervisor holds in memory of one terminal. Touched on the event loop only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from node_agent.bots.report import read_status
from node_agent.health import Health
from node_agent.layout import TerminalLayout
from node_agent.monitor import Monitor
from node_agent.observation import BotView, Link, Probe, Problem, Running, TerminalView
from node_agent.plan import WEDGE_WINDOW, Action, Verb, wish_fingerprint
from node_agent.process import Handle, Role
from node_agent.protocol.messages import BotPhase, DesiredTerminal, Guard, Phase, Reason
from node_agent.quarantine import NO_STRIKES
from node_agent.recycling import Growth
from node_agent.restarts import NO_EXITS, Restarts
from node_agent.roster import Roster
from node_agent.state import TerminalMemory

_KEPT_REQUESTS = 50
_AT_REST = frozenset({Phase.READY, Phase.STOPPED, Phase.FAILED})
_BOT_ON_ITS_WAY = frozenset({BotPhase.STARTING, BotPhase.BACKING_OFF})


@dataclass
class BotRecord:
    restarts: Restarts = NO_EXITS
    failed_fingerprint: str | None = None
    detail: str = ""
    phase: BotPhase = BotPhase.STARTING
    since: float = 0.0


@dataclass
class TerminalRecord:
    terminal_id: str
    layout: TerminalLayout
    memory: TerminalMemory
    epoch: int = 0
    """Newest epoch the control plane named; 0 when it has never named this terminal to this agent process."""
    worker_restarts: Restarts = NO_EXITS
    wedges: tuple[float, ...] = ()
    bots: dict[str, BotRecord] = field(default_factory=dict)
    monitor: Monitor | None = None
    probe: Probe | None = None
    last_answer_at: float | None = None
    authorised_since: float | None = None
    was_ready: bool = False
    applied_guard: Guard | None = None
    problem: Problem | None = None
    in_flight: bool = False
    growth: Growth | None = None
    recycled_at: float | None = None
    health: Health = field(default_factory=lambda: Health(Phase.PREPARING))
    health_since: float = 0.0
    watched_since: float = 0.0

    def is_at_rest(self) -> bool:
        """Whether time alone brings nothing that has to be done soon."""
        bots = all(bot.phase not in _BOT_ON_ITS_WAY for bot in self.bots.values())
        return bots and not self.in_flight and self.health.phase in _AT_REST

    def view(self, roster: Roster) -> TerminalView:
        """As of the last look at the processes."""
        bots, others = {}, {}
        for handle in roster.of(self.terminal_id):
            if handle.slot.role is Role.BOT:
                bots[handle.slot.bot_id] = handle
            else:
                others[handle.slot.role] = handle
        return TerminalView(
            terminal_id=self.terminal_id,
            in_flight=self.in_flight,
            terminal=_running(others.get(Role.TERMINAL)),
            worker=_running(others.get(Role.WORKER)),
            bots=self._bot_views(bots) if bots or self.bots else {},
            restarts=self.memory.restarts,
            out_of_memory=self.memory.out_of_memory,
            worker_restarts=self.worker_restarts,
            wedges=self.wedges,
            refused_version=self.memory.refused_version,
            refusals=self.memory.refusals,
            probe=self.probe,
            probe_started_at=self.monitor.busy_since if self.monitor else None,
            watched_since=self.watched_since,
            last_answer_at=self.last_answer_at,
            authorised_since=self.authorised_since,
            was_ready=self.was_ready,
            applied_guard=self.applied_guard,
            problem=self.problem,
            strikes=self.memory.strikes,
            finished_requests=self.memory.finished_requests,
        )

    def _bot_views(self, running: dict[str, Handle]) -> dict[str, BotView]:
        views = {}
        for bot_id in sorted(self.bots.keys() | running.keys()):
            record = self.bots.setdefault(bot_id, BotRecord())
            alive = _running(running.get(bot_id))
            status = read_status(self.layout.bot(bot_id)) if alive else None
            views[bot_id] = BotView(
                running=alive,
                restarts=record.restarts,
                phase=status.phase if status else "",
                detail=status.detail if status else record.detail,
                failed_fingerprint=record.failed_fingerprint,
            )
        return views

    def saw(self, probe: Probe, desired: DesiredTerminal) -> bool:
        """Take in a probe; True when the broker has just accepted the login of the present process."""
        self.probe = probe
        if probe.link is not Link.AUTHORISED or (probe.login, probe.server) != (desired.login, desired.server):
            return False
        self.last_answer_at = probe.at
        if self.authorised_since is not None or not probe.connected:
            return False
        self.authorised_since = probe.at
        changes: dict[str, object] = {"refusals": 0}
        if desired.template is None or probe.build == desired.template.build:
            changes["strikes"] = NO_STRIKES
        self.memory = self.memory.model_copy(update=changes)
        return True

    def terminal_gone(self) -> None:
        self.probe = None
        self.authorised_since = None
        self.was_ready = False

    def wedged(self, now: float) -> None:
        self.wedges = (*(at for at in self.wedges if now - at < WEDGE_WINDOW), now)

    def drop_monitor(self) -> None:
        if self.monitor is not None:
            self.monitor.stop()
            self.monitor = None
        self.probe = None

    def done(self, action: Action, desired: DesiredTerminal | None, now: float, retry_refused: float) -> None:
        """Take note that an action was carried out. Refused credentials are tried again after `retry_refused` s."""
        match action.verb:
            case Verb.START_TERMINAL:
                self.terminal_gone()
                self.problem = None
            case Verb.STOP_TERMINAL | Verb.DESTROY:
                self.terminal_gone()
            case Verb.REFUSE_TERMINAL:
                assert desired is not None
                self.terminal_gone()
                self._refused(desired.credentials_version, now + retry_refused)
            case Verb.REJECT_TERMINAL:
                assert desired is not None
                self.terminal_gone()
                self.strike(Reason.LIVE_UPDATE, desired)
            case Verb.PAUSE_TRADING:
                self.applied_guard = None
                self.recycled_at = now
            case Verb.START_WORKER | Verb.CONFIGURE_WORKER:
                assert desired is not None
                self.applied_guard = desired.guard
                self.problem = None
            case Verb.STOP_WORKER:
                self.drop_monitor()
            case Verb.KILL_WORKER:
                self.drop_monitor()
                self.wedged(now)
            case Verb.START_BOT:
                self.bots.setdefault(action.bot_id, BotRecord()).failed_fingerprint = None
            case Verb.LIFT:
                self._lift()
            case Verb.FINISH_REQUEST:
                finished = (*self.memory.finished_requests, action.request_id)[-_KEPT_REQUESTS:]
                self.memory = self.memory.model_copy(update={"finished_requests": finished})

    def strike(self, reason: Reason, desired: DesiredTerminal) -> None:
        """Count a fault that another try may not mend."""
        strikes = self.memory.strikes.after(reason, wish_fingerprint(desired))
        self.memory = self.memory.model_copy(update={"strikes": strikes})

    def _refused(self, version: int, retry_at: float) -> None:
        known = self.memory
        self.memory = known.model_copy(
            update={
                "refusals": known.refusals + 1 if known.refused_version == version else 1,
                "refused_version": version,
                "restarts": replace(known.restarts, not_before=retry_at),
            }
        )

    def _lift(self) -> None:
        changes = {"restarts": self.memory.restarts.lifted(), "strikes": NO_STRIKES}
        self.memory = self.memory.model_copy(update=changes)
        self.worker_restarts = self.worker_restarts.lifted()
        self.problem = None
        for bot in self.bots.values():
            bot.restarts = bot.restarts.lifted()
            bot.failed_fingerprint = None


def _running(handle: Handle | None) -> Running | None:
    return None if handle is None else Running(handle.pid, handle.started_at, handle.fingerprint)
