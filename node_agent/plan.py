"""Which actions bring a node from what is observed to what is desired. Pure: no I/O, no clock, no randomness.

The plan is made anew at each tick and is correct whatever happened before; an action that failed is simply planned
again. A terminal with an action in flight gets no new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from node_agent.lease import fences_itself
from node_agent.observation import BotView, Link, Running, TerminalView
from node_agent.protocol.messages import DesiredBot, DesiredTerminal

WEDGE_LIMIT = 3
WEDGE_WINDOW = 600.0
_LAUNCH = 3
"""How bots are started; one that an older agent started otherwise is replaced, its terminal is not."""
_WORKER = 3
"""The same for workers; those of 2 know few of the guard's limits, and no rules of bots."""


class Verb(StrEnum):
    """What the executor can do."""

    START_TERMINAL = "start_terminal"
    STOP_TERMINAL = "stop_terminal"
    REFUSE_TERMINAL = "refuse_terminal"
    """Stop it because the broker refused its credentials, and count the refusal."""
    REJECT_TERMINAL = "reject_terminal"
    """Stop it because it is no longer of the build that was pinned, and count that."""
    START_WORKER = "start_worker"
    STOP_WORKER = "stop_worker"
    KILL_WORKER = "kill_worker"
    """It no longer answers."""
    CONFIGURE_WORKER = "configure_worker"
    PAUSE_TRADING = "pause_trading"
    """Let the worker refuse what opens or enlarges a position, until it is configured again."""
    CHECK_FLAT = "check_flat"
    """Go on only if the account has neither positions nor pending orders."""
    START_BOT = "start_bot"
    STOP_BOT = "stop_bot"
    COLLECT = "collect"
    """Last collection of deals before the worker goes."""
    COLLECT_LOGS = "collect_logs"
    LIFT = "lift"
    """Forget the back-off, since a person asked for a restart. A refused password stays refused."""
    FINISH_REQUEST = "finish_request"
    DESTROY = "destroy"


@dataclass(frozen=True)
class Action:
    verb: Verb
    terminal_id: str
    bot_id: str = ""
    request_id: str = ""


@dataclass(frozen=True)
class Limits:
    """What the plan goes by; durations in seconds."""

    probe_wedged: float = 45.0
    starts: int = 8
    """Terminals that may be starting at a time: each takes much of the machine until it is logged in."""
    start_grace: float = 60.0
    """After so long a terminal that has not logged in counts as starting no more."""


def terminal_fingerprint(desired: DesiredTerminal) -> str:
    """What a terminal process must be restarted for."""
    parts = desired.login, desired.server, desired.server_address, desired.credentials_version, desired.runtime
    # Without a template as it always was: what an older agent has started is not to be replaced for a new one's sake.
    return _digest(*parts) if desired.template is None else _digest(*parts, desired.template.sha256)


def worker_fingerprint(desired: DesiredTerminal) -> str:
    """What a worker must be restarted for; a new guard is handed to the running one."""
    return _digest(
        _WORKER,
        desired.lease_policy,
        desired.terminal_id,
        desired.epoch,
        desired.login,
        desired.server,
        desired.runtime,
    )


def bot_fingerprint(desired: DesiredTerminal, bot: DesiredBot) -> str:
    return _digest(_LAUNCH, bot.bot_id, bot.revision, desired.epoch)


def wish_fingerprint(desired: DesiredTerminal) -> str:
    """What must change before a start that failed for good is tried again."""
    template = desired.template.sha256 if desired.template else ""
    return _digest(desired.epoch, desired.credentials_version, desired.runtime, template)


@lru_cache(maxsize=4096)
def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def plan(
    desired: Mapping[str, DesiredTerminal],
    observed: Mapping[str, TerminalView],
    now: float,
    limits: Limits,
    *,
    lease_over: bool = False,
    may_start: bool = True,
    recycle: str | None = None,
) -> dict[str, list[Action]]:
    """Terminal id to the actions to carry out in order. `observed` holds every terminal that exists on the node.

    `lease_over` ends the terminals whose policy is to die with the node's lease, and keeps them from starting. Without
    `may_start`, since the node is short of what a terminal takes, none is started that does not run. `recycle` names a
    terminal that has grown and is to be started anew, if it is flat.
    """
    actions = {}
    room = limits.starts - sum(_is_starting(view, now, limits) for view in observed.values()) if may_start else 0
    for terminal_id in sorted(desired.keys() | observed.keys()):
        view = observed.get(terminal_id) or TerminalView(terminal_id)
        if view.in_flight:
            continue
        wanted = desired.get(terminal_id)
        if wanted is not None and lease_over and fences_itself(wanted):
            steps = list(_fence(view))
        elif wanted is not None and recycle == terminal_id and _is_whole(wanted, view):
            steps = list(_recycle(view))
        else:
            steps = list(_plan_terminal(wanted, view, now, limits, has_room=room > 0))
        if view.terminal is None and any(step.verb is Verb.START_TERMINAL for step in steps):
            room -= 1
        if steps:
            actions[terminal_id] = steps
    return actions


def _is_starting(view: TerminalView, now: float, limits: Limits) -> bool:
    if view.terminal is None:
        return view.in_flight
    return view.authorised_since is None and now - view.terminal.started_at < limits.start_grace


def _is_whole(desired: DesiredTerminal, view: TerminalView) -> bool:
    """Whether the terminal runs as desired, so that nothing is more urgent than its size."""
    running = _is_settled(view.terminal, terminal_fingerprint(desired))
    return desired.running and running and _is_settled(view.worker, worker_fingerprint(desired))


def _recycle(view: TerminalView) -> Iterator[Action]:
    """The bots come back by themselves, and trading with the next configuration of the worker."""
    for bot_id, bot in sorted(view.bots.items()):
        if bot.running:
            yield Action(Verb.STOP_BOT, view.terminal_id, bot_id)
    for verb in (Verb.PAUSE_TRADING, Verb.CHECK_FLAT, Verb.COLLECT, Verb.STOP_TERMINAL, Verb.START_TERMINAL):
        yield Action(verb, view.terminal_id)


def _fence(view: TerminalView) -> Iterator[Action]:
    """The terminal before its worker, for an Expert Advisor trades inside it. What is not collected waits on disk."""
    for bot_id, bot in sorted(view.bots.items()):
        if bot.running:
            yield Action(Verb.STOP_BOT, view.terminal_id, bot_id)
    if view.terminal:
        yield Action(Verb.STOP_TERMINAL, view.terminal_id)
    if view.worker:
        yield Action(Verb.STOP_WORKER, view.terminal_id)


def _plan_terminal(
    desired: DesiredTerminal | None, view: TerminalView, now: float, limits: Limits, *, has_room: bool
) -> Iterator[Action]:
    if desired is None:
        yield from _stop_all(view)
        yield Action(Verb.DESTROY, view.terminal_id)
        return
    pending = [request for request in desired.requests if request.request_id not in view.finished_requests]
    for request in pending:
        if request.kind == "restart":
            yield from _stop_all(view)
            yield Action(Verb.LIFT, view.terminal_id)
            yield Action(Verb.FINISH_REQUEST, view.terminal_id, request_id=request.request_id)
            return
    yield from _keep(desired, view, now, limits, has_room=has_room)
    # Last, so that logs that cannot be packed (a full disk) keep nothing from being looked after.
    for request in pending:
        yield Action(Verb.COLLECT_LOGS, view.terminal_id, request_id=request.request_id)
        yield Action(Verb.FINISH_REQUEST, view.terminal_id, request_id=request.request_id)


def _keep(
    desired: DesiredTerminal, view: TerminalView, now: float, limits: Limits, *, has_room: bool
) -> Iterator[Action]:
    if not desired.running:
        yield from _stop_all(view)
        return
    if view.held(desired.credentials_version) or _hopeless(desired, view):
        yield from _stop_all(view)
        return
    if _is_refused(desired, view):
        if view.worker:
            # A new worker remembers nothing of this refusal and cannot report it a second time.
            yield Action(Verb.STOP_WORKER, view.terminal_id)
        yield Action(Verb.REFUSE_TERMINAL, view.terminal_id)
        return
    if has_updated_itself(desired, view):
        yield from _stop_all(view, Verb.REJECT_TERMINAL)
        return
    if view.terminal is None and not has_room:
        return  # a worker alone would only take from what the others need
    yield from _keep_terminal(desired, view, now)
    yield from _keep_worker(desired, view, now, limits)
    yield from _keep_bots(desired, view, now)


def has_updated_itself(desired: DesiredTerminal, view: TerminalView) -> bool:
    """Whether the running terminal says that it is of another build than the one that was pinned."""
    if desired.template is None or view.probe is None or view.probe.build is None or view.terminal is None:
        return False
    settled = view.terminal.fingerprint == terminal_fingerprint(desired)
    return settled and view.probe.build != desired.template.build


def _stop_all(view: TerminalView, verb: Verb = Verb.STOP_TERMINAL) -> Iterator[Action]:
    """Bots before the worker before the terminal, so that nothing trades into a closing door."""
    for bot_id, bot in sorted(view.bots.items()):
        if bot.running:
            yield Action(Verb.STOP_BOT, view.terminal_id, bot_id)
    if view.worker:
        yield Action(Verb.COLLECT, view.terminal_id)
        yield Action(Verb.STOP_WORKER, view.terminal_id)
    if view.terminal:
        yield Action(verb, view.terminal_id)


def _is_refused(desired: DesiredTerminal, view: TerminalView) -> bool:
    """Whether the broker refused what the running terminal was started with, and not something older."""
    refused = view.probe is not None and view.probe.link is Link.REFUSED
    return refused and view.terminal is not None and view.terminal.fingerprint == terminal_fingerprint(desired)


def _hopeless(desired: DesiredTerminal, view: TerminalView) -> bool:
    if view.strikes.verdict(wish_fingerprint(desired)) is not None:
        return True
    problem = view.problem
    return problem is not None and problem.permanent and problem.wish == wish_fingerprint(desired)


def _keep_terminal(desired: DesiredTerminal, view: TerminalView, now: float) -> Iterator[Action]:
    if view.terminal is None:
        if view.restarts.may_start(now):
            yield Action(Verb.START_TERMINAL, view.terminal_id)
    elif view.terminal.fingerprint != terminal_fingerprint(desired):
        yield from _stop_all(view)
        yield Action(Verb.START_TERMINAL, view.terminal_id)
    elif sum(now - at < WEDGE_WINDOW and at > view.terminal.started_at for at in view.wedges) >= WEDGE_LIMIT:
        yield Action(Verb.STOP_TERMINAL, view.terminal_id)
        yield Action(Verb.START_TERMINAL, view.terminal_id)


def _keep_worker(desired: DesiredTerminal, view: TerminalView, now: float, limits: Limits) -> Iterator[Action]:
    terminal_changes = view.terminal is not None and view.terminal.fingerprint != terminal_fingerprint(desired)
    if view.worker is None or terminal_changes:
        # Without a terminal ever started, a worker would only log that nobody answers.
        starts = view.terminal is not None or view.restarts.may_start(now)
        if starts and view.worker_restarts.may_start(now):
            yield Action(Verb.START_WORKER, view.terminal_id)
    elif view.worker.fingerprint != worker_fingerprint(desired):
        for bot_id, bot in sorted(view.bots.items()):
            if bot.running:
                yield Action(Verb.STOP_BOT, view.terminal_id, bot_id)
        yield Action(Verb.STOP_WORKER, view.terminal_id)
        yield Action(Verb.START_WORKER, view.terminal_id)
    elif view.probe_started_at is not None and now - view.probe_started_at >= limits.probe_wedged:
        yield Action(Verb.KILL_WORKER, view.terminal_id)
    elif view.applied_guard != desired.guard and view.probe is not None and view.probe.link is not Link.NO_WORKER:
        yield Action(Verb.CONFIGURE_WORKER, view.terminal_id)


def _keep_bots(desired: DesiredTerminal, view: TerminalView, now: float) -> Iterator[Action]:
    present = (view.terminal, terminal_fingerprint(desired)), (view.worker, worker_fingerprint(desired))
    if any(process is not None and not _is_settled(process, fingerprint) for process, fingerprint in present):
        return  # it is being replaced, and its bots with it
    wanted = {bot.bot_id: bot for bot in desired.bots}
    # Also while the terminal is away: a bot that was stopped must not find itself trading when it comes back.
    for bot_id, seen in sorted(view.bots.items()):
        if seen.running and (
            bot_id not in wanted or seen.running.fingerprint != bot_fingerprint(desired, wanted[bot_id])
        ):
            yield Action(Verb.STOP_BOT, view.terminal_id, bot_id)
    if view.terminal is None or view.worker is None or view.authorised_since is None:
        return
    for bot_id, bot in sorted(wanted.items()):
        known = view.bots.get(bot_id)
        fingerprint = bot_fingerprint(desired, bot)
        if known is None or (not _is_settled(known.running, fingerprint) and _may_start(known, fingerprint, now)):
            yield Action(Verb.START_BOT, view.terminal_id, bot_id)


def _may_start(bot: BotView, fingerprint: str, now: float) -> bool:
    return bot.failed_fingerprint != fingerprint and bot.restarts.may_start(now)


def _is_settled(process: Running | None, fingerprint: str) -> bool:
    return process is not None and process.fingerprint == fingerprint
