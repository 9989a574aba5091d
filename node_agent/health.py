"""Which phase a terminal is in, and why. Pure: judged from what was observed, so it cannot drift from the facts.

A live process proves nothing: ready means that the right account answered, trading is allowed and quotes move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from node_agent.lease import fences_itself
from node_agent.observation import BotView, Link, Probe, Running, TerminalView
from node_agent.plan import bot_fingerprint, terminal_fingerprint, wish_fingerprint, worker_fingerprint
from node_agent.pressure import Shortage
from node_agent.protocol.messages import BotPhase, DesiredBot, DesiredTerminal, Phase, Reason
from node_agent.restarts import RestartPolicy

_SHORTAGES: Final[Mapping[Shortage, Reason]] = {"memory": Reason.OUT_OF_MEMORY, "disk": Reason.DISK_FULL}
_VERDICTS: Final[Mapping[Reason, str]] = {
    Reason.TEMPLATE_BROKEN: "The terminal's installation on the node is damaged; our team has to look at it.",
    Reason.LIVE_UPDATE: "The terminal keeps updating itself to another build; our team has to look at it.",
}


@dataclass(frozen=True)
class Health:
    phase: Phase
    reason: Reason | None = None
    detail: str = ""
    """Safe to show to the account's owner."""


@dataclass(frozen=True)
class Thresholds:
    """Durations in seconds."""

    restart: RestartPolicy
    launch_grace: float
    connect_grace: float
    quote_fresh: float
    probe_late: float


def judge(
    desired: DesiredTerminal | None,
    view: TerminalView,
    now: float,
    limits: Thresholds,
    *,
    lease_over: bool = False,
    short_of: frozenset[Shortage] = frozenset(),
) -> Health:
    """Phase of a terminal that exists on this node. `lease_over` as in `plan.plan`."""
    if desired is None or not desired.running:
        # An action in flight may be about to start something: only without one is nothing running for sure.
        alive = view.in_flight or view.terminal or view.worker or any(bot.running for bot in view.bots.values())
        return Health(Phase.STOPPING if alive else Phase.STOPPED)
    if lease_over and fences_itself(desired):
        gone = Phase.STOPPING if view.terminal or view.worker else Phase.BACKING_OFF
        return Health(gone, Reason.LEASE_EXPIRED, "The node has lost touch with the farm, so the terminal was ended.")
    if hopeless := _hopeless(desired, view):
        return hopeless
    if view.terminal is None:
        return _held_back(view, short_of) or _not_running(view, now, limits)
    return _running(desired, view, view.terminal, now, limits)


def _running(desired: DesiredTerminal, view: TerminalView, terminal: Running, now: float, limits: Thresholds) -> Health:
    if terminal.fingerprint != terminal_fingerprint(desired):
        return Health(Phase.LAUNCHING, None, "The terminal is being restarted with new settings.")
    if view.probe is None or not _serves(view.worker, desired):
        return _unanswered(view, terminal, now, limits, "The bridge to the terminal is starting.")
    silent = view.probe_started_at is not None and now - view.probe_started_at > limits.probe_late
    if silent:
        return Health(Phase.DEGRADED, Reason.IPC_TIMEOUT, "The terminal has stopped answering.")
    if view.probe.link is Link.AUTHORISED and view.probe.connected:
        return _logged_in(desired, view, view.probe, now, limits)
    return _not_logged_in(view, terminal, view.probe.link, now, limits)


def _held_back(view: TerminalView, short_of: frozenset[Shortage]) -> Health | None:
    if view.in_flight:
        return None
    for shortage, reason in _SHORTAGES.items():
        if shortage in short_of:
            return Health(Phase.BACKING_OFF, reason, f"The node is short of {shortage}; the terminal starts later.")
    return None


def _hopeless(desired: DesiredTerminal, view: TerminalView) -> Health | None:
    if view.held(desired.credentials_version):
        return Health(
            Phase.FAILED,
            Reason.BAD_CREDENTIALS,
            "The broker refused login or password. Enter the right password to try again.",
        )
    if verdict := view.strikes.verdict(wish_fingerprint(desired)):
        return Health(Phase.FAILED, verdict, _VERDICTS[verdict])
    if view.problem and view.problem.permanent and view.problem.wish == wish_fingerprint(desired):
        return Health(Phase.FAILED, view.problem.reason, view.problem.detail)
    return None


def _serves(worker: Running | None, desired: DesiredTerminal) -> bool:
    return worker is not None and worker.fingerprint == worker_fingerprint(desired)


def _not_running(view: TerminalView, now: float, limits: Thresholds) -> Health:
    reason = Reason.OUT_OF_MEMORY if view.out_of_memory else Reason.PROCESS_EXIT
    ended = "The terminal ran out of memory" if view.out_of_memory else "The terminal ended"
    if view.restarts.crash_loop(limits.restart, now):
        return Health(Phase.CRASH_LOOP, reason, f"{ended} again and again; it is tried every few minutes.")
    if view.problem:
        return Health(Phase.BACKING_OFF, view.problem.reason, view.problem.detail)
    if not view.restarts.may_start(now):
        return Health(Phase.BACKING_OFF, reason, f"{ended} and will be started again shortly.")
    return Health(Phase.PREPARING)


def _unanswered(view: TerminalView, terminal: Running, now: float, limits: Thresholds, detail: str) -> Health:
    if view.problem:
        return Health(Phase.DEGRADED, view.problem.reason, view.problem.detail)
    since = max(terminal.started_at, view.watched_since)
    if view.was_ready or now - since > limits.launch_grace:
        return Health(Phase.DEGRADED, Reason.IPC_TIMEOUT, detail)
    return Health(Phase.LAUNCHING, None, detail)


def _logged_in(desired: DesiredTerminal, view: TerminalView, probe: Probe, now: float, limits: Thresholds) -> Health:
    if (probe.login, probe.server) != (desired.login, desired.server):
        return Health(Phase.DEGRADED, Reason.WRONG_ACCOUNT, "The terminal is logged in to another account.")
    if not probe.trade_allowed:
        return Health(Phase.DEGRADED, Reason.ALGO_TRADING_OFF, "Trading by programs is switched off in the terminal.")
    if probe.quote_moved_at is not None and now - probe.quote_moved_at <= limits.quote_fresh:
        return Health(Phase.READY)
    if view.authorised_since is not None and now - view.authorised_since <= limits.quote_fresh:
        return Health(Phase.LOGGING_IN, None, "Logged in; waiting for the first quote.")
    return Health(Phase.DEGRADED, None, "Logged in, but no quote has moved; the market may be closed.")


def _not_logged_in(view: TerminalView, terminal: Running, link: Link, now: float, limits: Thresholds) -> Health:
    match link:
        case Link.NO_WORKER:
            return _unanswered(view, terminal, now, limits, "The bridge to the terminal is restarting.")
        case Link.NO_TERMINAL:
            return _unanswered(view, terminal, now, limits, "The terminal does not answer yet.")
        case Link.REFUSED:
            return Health(
                Phase.LOGGING_IN, Reason.BAD_CREDENTIALS, "The broker refused login or password; trying once more."
            )
        case _:
            return _not_connected(view, terminal, now, limits)


def _not_connected(view: TerminalView, terminal: Running, now: float, limits: Thresholds) -> Health:
    detail = "The terminal has no connection to the broker's server."
    if view.was_ready:
        return Health(Phase.DEGRADED, Reason.BROKER_UNREACHABLE, detail)
    if now - max(terminal.started_at, view.watched_since) > limits.connect_grace:
        return Health(Phase.LOGGING_IN, Reason.BROKER_UNREACHABLE, detail)
    return Health(Phase.LOGGING_IN)


def judge_bot(
    desired: DesiredTerminal | None, bot: DesiredBot | None, view: BotView, now: float
) -> tuple[BotPhase, str]:
    """Phase of a bot and a sentence that is safe to show."""
    if view.running:
        if view.phase == "running":
            return BotPhase.RUNNING, view.detail
        return BotPhase.STARTING, view.detail
    if desired is None or bot is None or not desired.running:
        return BotPhase.STOPPED, ""
    if view.failed_fingerprint == bot_fingerprint(desired, bot):
        return BotPhase.FAILED, view.detail or "The bot gave up."
    if not view.restarts.may_start(now):
        return BotPhase.BACKING_OFF, "The bot ended and will be started again shortly."
    return BotPhase.STARTING, "Waiting for the terminal."
