"""Bugs planted in the agent, the watchdog, the gateway and the bridge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import node_agent.agent
import node_agent.health
import node_agent.lease
import node_agent.plan
import node_agent.sync
import node_agent.watchdog.duty
import node_agent.watchdog.lifeline
import tests.simulation.agent
from mt5_bridge.lease import Moment
from mt5_bridge.service import BridgeService
from node_agent.agent import Agent
from node_agent.clock import SteadyClock
from node_agent.collector import Collector
from node_agent.errors import StorageError
from node_agent.gateway.admission import Admission
from node_agent.gateway.hello import RefusedError
from node_agent.lease import Stage
from node_agent.observation import TerminalView
from node_agent.plan import Action, Verb
from node_agent.probation import Probation
from node_agent.protocol.messages import EventBatch
from node_agent.protocol.tickets import TicketError, verify
from node_agent.restarts import Restarts
from node_agent.roster import Roster
from node_agent.spool import Spool
from node_agent.state import StateStore
from node_agent.sync import SyncLoop
from node_agent.watchdog.duty import Duty
from node_agent.watchdog.lifeline import Lifeline
from tests.simulation.mutants.planting import Mutant, always

_SILENCE = ("link cut", "cut towards the farm", "machine paused", "host suspended")
_HANGING = ("agent stopped",)
_REBOOTS = ("power cut", "agent killed")


def _lease_from_receive_time(right: Any) -> Any:
    def apply(self: Agent, response: Any, _sent_at: Moment) -> None:
        right(self, response, self._settings.clocks())

    return apply


def _fence_takes_half_as_long_again(right: Any) -> Any:
    def stage(lease: Any, now: Moment) -> Stage:
        return Stage(right(None if lease is None else replace(lease, seconds=lease.seconds * 1.5), now))

    return stage


def _wall_clock_only(_right: Any) -> Any:
    return lambda since, now: now.wall - since.wall


def _monotonic_clock_only(_right: Any) -> Any:
    return lambda since, now: now.elapsed - since.elapsed


def _sees_what_is_told_only(_right: Any) -> Any:
    return lambda _self, _handle: None


def _never_reads_again(right: Any) -> Any:
    def reload(self: Duty) -> None:
        if self._fence is None:
            right(self)

    return reload


def _first_terminal_only(right: Any) -> Any:
    return lambda terminals: dict(list(right(terminals).items())[:1])


def _lost_lease_stops_all(right: Any) -> Any:
    def plan(desired: Any, observed: Any, now: float, limits: Any, *, lease_over: bool = False) -> Any:
        if lease_over:
            desired = {key: each.model_copy(update={"running": False}) for key, each in desired.items()}
        return right(desired, observed, now, limits, lease_over=lease_over)

    return plan


def _leaves_what_should_stop(right: Any) -> Any:
    def keep(desired: Any, view: TerminalView, now: float, limits: Any) -> Any:
        return right(desired, view, now, limits) if desired.running else iter(())

    return keep


def _any_epoch(_right: Any) -> Any:
    def admit(self: Admission, ticket_text: str) -> Any:
        routes = self._routes()
        try:
            ticket = verify(ticket_text, routes.keys, self._config.node_id)
        except TicketError as error:
            raise RefusedError(error.code, str(error)) from error
        if ticket.terminal_id not in routes.terminals:
            raise RefusedError("terminal_not_here", "this node does not run the terminal")
        return ticket, routes.terminals[ticket.terminal_id]

    return admit


def _starts_beside_a_running_one(right: Any) -> Any:
    def keep(desired: Any, view: TerminalView, now: float) -> Any:
        if view.terminal is not None and view.terminal.fingerprint != node_agent.plan.terminal_fingerprint(desired):
            return iter((Action(Verb.START_TERMINAL, view.terminal_id),))
        return right(desired, view, now)

    return keep


def _stopped_while_something_is_in_flight(right: Any) -> Any:
    def judge(desired: Any, view: TerminalView, now: float, limits: Any, **more: Any) -> Any:
        return right(desired, replace(view, in_flight=False, terminal=None, worker=None), now, limits, **more)

    return judge


def _stop_always_works(_right: Any) -> Any:
    def let_go(self: Roster, handle: Any) -> None:
        self._forget(handle)

    return let_go


def _leaves_the_spool_first(_right: Any) -> Any:
    async def deliver(link: Any, spool: Spool) -> bool:
        events = spool.oldest()
        if events:
            spool.remove([event.event_id for event in events])
            await link.events(EventBatch(events=events))
        return False

    return deliver


def _cursor_before_the_spool(right: Any) -> Any:
    def collect(self: Collector, bridge: Any, target: Any) -> int:
        deals = bridge.history_deals_get(0, 2**31 - 1)
        fresh = [event for deal in deals if (event := self._fresh_deal(target, deal)) is not None]
        self._spool.append(fresh)
        return len(fresh)

    return collect


def _yesterday_is_never_looked_at(right: Any) -> Any:
    def collect(self: Collector, bridge: Any, target: Any) -> int:
        position = self._state.cursor(target.terminal_id, "deals")
        deals = bridge.history_deals_get(int(position or self._clock()) + 1, 2**31 - 1)
        if deals:
            self._spool.append(self._deal_event(target, deal) for deal in deals)
        self._state.move_cursor(target.terminal_id, "deals", str(int(self._clock())))
        return len(deals)

    return collect


def _keeps_the_first_snapshot(right: Any) -> Any:
    def save(self: StateStore, snapshot: Any, boot: str) -> None:
        if self.snapshot(boot) is None:
            right(self, snapshot, boot)

    return save


def _acknowledges_what_was_not_written(right: Any) -> Any:
    def save(self: StateStore, snapshot: Any, boot: str) -> None:
        try:
            right(self, snapshot, boot)
        except StorageError:
            return

    return save


def _whatever_start_it_was(right: Any) -> Any:
    def snapshot(self: StateStore, _boot: str) -> Any:
        with self._database.transaction() as sql:
            row = sql.execute("SELECT boot FROM snapshot").fetchone()
        return None if row is None else right(self, row[0])

    return snapshot


def _continuity_shown_unsaved(_right: Any) -> Any:
    return lambda _layout, _token: None


def _never_gives_up(right: Any) -> Any:
    return lambda _self, _version: False


def _adds_up_for_ever(right: Any) -> Any:
    def after_exit(self: Restarts, policy: Any, started_at: float, now: float, jitter: float) -> Restarts:
        after: Restarts = right(self, policy, started_at, now, jitter)
        return replace(after, not_before=now + 3 * (after.not_before - now) + 4000.0)

    return after_exit


def _wall_clock(_right: Any) -> Any:
    return lambda self: self._clocks().wall


def _old_generation_again(right: Any) -> Any:
    async def sync(self: SyncLoop) -> float:
        known = self.generation
        pause = await right(self)
        self.generation = max(known, self.generation) + 1
        return float(pause)

    return sync


MUTANTS = (
    Mutant(
        "the lease counts from the answer",
        ((Agent, "_apply", _lease_from_receive_time),),
        ("frozen over an answer", "late and out of order", "cut towards the node"),
    ),
    Mutant(
        "fenced half as late again",
        (
            (node_agent.lease, "stage", _fence_takes_half_as_long_again),
            (node_agent.watchdog.duty, "stage", _fence_takes_half_as_long_again),
            (node_agent.watchdog.lifeline, "stage", _fence_takes_half_as_long_again),
        ),
        (*_SILENCE, *_HANGING),
    ),
    Mutant(
        "a pause of the machine is not seen", ((node_agent.lease, "age", _monotonic_clock_only),), ("machine paused",)
    ),
    Mutant(
        "a clock set back lengthens the lease",
        ((node_agent.lease, "age", _wall_clock_only),),
        ("clock steps", "link cut", "cut towards the farm"),
    ),
    Mutant("the watchdog kills nothing", ((Duty, "_kill_all", always(None)),), _HANGING),
    Mutant(
        "the watchdog does not know what was started later",
        ((Lifeline, "_entered", _sees_what_is_told_only), (Duty, "_sweep", always(None))),
        ("agent hangs over a start",),
    ),
    Mutant(
        "the watchdog never reads the lease again and nobody notices",
        ((Duty, "_reload", _never_reads_again), (Lifeline, "is_seen_by", always(True))),
    ),
    Mutant(
        "the watchdog knows one terminal only",
        ((node_agent.watchdog.lifeline, "fencing", _first_terminal_only), (Duty, "_sweep", always(None))),
        _HANGING,
    ),
    Mutant(
        "neither agent nor watchdog fence",
        ((node_agent.watchdog.duty, "stage", always(Stage.HELD)), (Lifeline, "stage", always(Stage.HELD))),
        _SILENCE,
    ),
    Mutant(
        "a lost lease stops what should keep running",
        ((tests.simulation.agent, "plan", _lost_lease_stops_all),),
        _SILENCE,
    ),
    Mutant("everything fences itself", ((node_agent.plan, "fences_itself", always(True)),), _SILENCE),
    Mutant("started beside the old one", ((node_agent.plan, "_keep_terminal", _starts_beside_a_running_one),)),
    Mutant(
        "reported as stopped while it stops",
        ((tests.simulation.agent, "judge", _stopped_while_something_is_in_flight),),
    ),
    Mutant(
        "a stop is believed without looking",
        ((Roster, "_let_go", _stop_always_works),),
        ("unkillable terminal", "bus wiped"),
    ),
    Mutant(
        "events leave the spool before they are stored", ((node_agent.sync, "_deliver_batch", _leaves_the_spool_first),)
    ),
    Mutant(
        "deals are marked as seen before they are spooled",
        ((Collector, "collect_deals", _cursor_before_the_spool),),
        ("agent dies writing",),
    ),
    Mutant("deals of the past are never looked for", ((Collector, "collect_deals", _yesterday_is_never_looked_at),)),
    Mutant(
        "the first snapshot is kept for ever",
        ((StateStore, "save_snapshot", _keeps_the_first_snapshot),),
        ("agent killed", "agent dies writing"),
    ),
    Mutant(
        "what could not be written is acknowledged",
        ((StateStore, "save_snapshot", _acknowledges_what_was_not_written),),
        ("disk full", "agent killed", "agent killed"),
    ),
    Mutant("a snapshot of another start counts", ((StateStore, "snapshot", _whatever_start_it_was),), _REBOOTS),
    Mutant("no probation after a start", ((Probation, "is_over", always(True)),), ("cloned node",)),
    Mutant(
        "the token is never written down",
        ((node_agent.agent, "write_continuity", _continuity_shown_unsaved),),
        ("agent killed",),
    ),
    Mutant("a refused password is tried for ever", ((TerminalView, "held", _never_gives_up),)),
    Mutant("the back-off never ends", ((Restarts, "after_exit", _adds_up_for_ever),), ("terminal killed",)),
    Mutant(
        "the back-off follows the wall clock",
        ((SteadyClock, "__call__", _wall_clock),),
        ("clock steps", "terminal killed", "worker killed"),
    ),
    Mutant("the node believes it knows what it does not", ((SyncLoop, "_sync", _old_generation_again),)),
    Mutant("what should stop is left alone", ((node_agent.plan, "_keep", _leaves_what_should_stop),)),
    Mutant(
        "tickets and sessions of an older epoch are served",
        ((Admission, "admit", _any_epoch), (BridgeService, "_check_epoch", always(None))),
        ("sent back", "worker killed"),
    ),
    Mutant(
        "a ticket opens more than one session", ((Admission, "_redeem", always(None)),), ("sent back", "worker killed")
    ),
)
