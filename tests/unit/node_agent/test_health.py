"""Which phase a terminal is in, judged from what was seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from node_agent.health import Thresholds, judge, judge_bot
from node_agent.observation import BotView, Link, Probe, Problem, Running, TerminalView
from node_agent.plan import bot_fingerprint, terminal_fingerprint, wish_fingerprint, worker_fingerprint
from node_agent.protocol.messages import BotPhase, DesiredBot, DesiredTerminal, Guard, Phase, Reason
from node_agent.restarts import NO_EXITS, RestartPolicy, Restarts

NOW = 10_000.0
POLICY = RestartPolicy(settled=30.0, base=5.0, cap=300.0, window=900.0, limit=5)
LIMITS = Thresholds(restart=POLICY, launch_grace=60.0, connect_grace=10.0, quote_fresh=60.0, probe_late=10.0)
BOT = DesiredBot(
    bot_id="bot_0000000000000001",
    revision=1,
    strategy="s",
    symbol="EURUSD",
    timeframe="M1",
    volume=0.1,
    magic=1,
    parameters={},
)
WISH = DesiredTerminal(
    terminal_id="ter_0000000000000001",
    account_id="acc_0000000000000001",
    tenant_id="ten_0000000000000001",
    epoch=1,
    running=True,
    runtime="simulated",
    login=7,
    server="Demo",
    credentials="box",
    credentials_version=1,
    guard=Guard(),
    bots=[BOT],
)
GOOD = Probe(
    Link.AUTHORISED,
    NOW,
    login=7,
    server="Demo",
    connected=True,
    trade_allowed=True,
    quote_moved_at=NOW - 1,
)
VIEW = TerminalView(
    WISH.terminal_id,
    terminal=Running(1, NOW - 100, terminal_fingerprint(WISH)),
    worker=Running(2, NOW - 100, worker_fingerprint(WISH)),
    probe=GOOD,
    authorised_since=NOW - 90,
)


def outcome(view: TerminalView, desired: DesiredTerminal | None = WISH) -> tuple[Phase, Reason | None]:
    health = judge(desired, view, NOW, LIMITS)
    return health.phase, health.reason


def probed(**changes: Any) -> TerminalView:
    return replace(VIEW, probe=replace(GOOD, **changes))


def test_ready_means_right_account_trading_allowed_and_moving_quotes() -> None:
    assert outcome(VIEW) == (Phase.READY, None)


@pytest.mark.parametrize(
    ("view", "phase", "reason"),
    [
        (probed(login=8), Phase.DEGRADED, Reason.WRONG_ACCOUNT),
        (probed(server="Other"), Phase.DEGRADED, Reason.WRONG_ACCOUNT),
        (probed(trade_allowed=False), Phase.DEGRADED, Reason.ALGO_TRADING_OFF),
        (probed(quote_moved_at=NOW - 61), Phase.DEGRADED, None),
        (probed(quote_moved_at=None), Phase.DEGRADED, None),
        (probed(connected=False), Phase.LOGGING_IN, Reason.BROKER_UNREACHABLE),
        (probed(link=Link.CONNECTING), Phase.LOGGING_IN, Reason.BROKER_UNREACHABLE),
        (probed(link=Link.REFUSED), Phase.LOGGING_IN, Reason.BAD_CREDENTIALS),
        (probed(link=Link.NO_TERMINAL), Phase.DEGRADED, Reason.IPC_TIMEOUT),
        (probed(link=Link.NO_WORKER), Phase.DEGRADED, Reason.IPC_TIMEOUT),
        (replace(VIEW, probe_started_at=NOW - 11), Phase.DEGRADED, Reason.IPC_TIMEOUT),
        (replace(probed(connected=False), was_ready=True), Phase.DEGRADED, Reason.BROKER_UNREACHABLE),
        (replace(VIEW, probe=None, was_ready=True), Phase.DEGRADED, Reason.IPC_TIMEOUT),
    ],
)
def test_each_lack_has_its_phase_and_reason(view: TerminalView, phase: Phase, reason: Reason | None) -> None:
    assert outcome(view) == (phase, reason)


def test_a_young_terminal_is_given_time() -> None:
    young = replace(VIEW, terminal=Running(1, NOW - 5, terminal_fingerprint(WISH)), authorised_since=None)
    assert outcome(replace(young, probe=None)) == (Phase.LAUNCHING, None)
    assert outcome(replace(young, probe=Probe(Link.NO_TERMINAL, NOW))) == (Phase.LAUNCHING, None)
    assert outcome(replace(young, probe=Probe(Link.CONNECTING, NOW))) == (Phase.LOGGING_IN, None)
    waiting = replace(probed(quote_moved_at=None), authorised_since=NOW - 5)
    assert outcome(waiting) == (Phase.LOGGING_IN, None)


def test_a_restarted_agent_gives_an_old_terminal_time_to_be_seen() -> None:
    assert outcome(replace(VIEW, probe=None, watched_since=NOW - 1)) == (Phase.LAUNCHING, None)


def test_a_live_worker_of_an_older_epoch_does_not_make_it_ready() -> None:
    assert outcome(VIEW, WISH.model_copy(update={"epoch": 2}))[0] is not Phase.READY


def test_a_terminal_started_with_older_credentials_is_not_ready() -> None:
    assert outcome(VIEW, WISH.model_copy(update={"credentials_version": 2}))[0] is Phase.LAUNCHING


def test_without_a_process_it_prepares_backs_off_or_loops() -> None:
    none = replace(VIEW, terminal=None, probe=None)
    assert outcome(none) == (Phase.PREPARING, None)
    resting = replace(none, restarts=NO_EXITS.delayed_until(NOW + 5))
    assert outcome(resting) == (Phase.BACKING_OFF, Reason.PROCESS_EXIT)
    looping = Restarts(count=5, recent=tuple(NOW - each for each in range(5)))
    assert outcome(replace(none, restarts=looping)) == (Phase.CRASH_LOOP, Reason.PROCESS_EXIT)
    assert outcome(replace(resting, out_of_memory=True)) == (Phase.BACKING_OFF, Reason.OUT_OF_MEMORY)
    assert outcome(replace(none, restarts=looping, out_of_memory=True)) == (Phase.CRASH_LOOP, Reason.OUT_OF_MEMORY)
    full = Problem(Reason.DISK_FULL, "The disk of the node is full.")
    assert outcome(replace(none, problem=full)) == (Phase.BACKING_OFF, Reason.DISK_FULL)


def test_what_cannot_heal_by_itself_is_failed() -> None:
    held = replace(VIEW, terminal=None, refusals=2, refused_version=1)
    assert outcome(held) == (Phase.FAILED, Reason.BAD_CREDENTIALS)
    broken = Problem(Reason.TEMPLATE_BROKEN, "no", permanent=True, wish=wish_fingerprint(WISH))
    assert outcome(replace(VIEW, terminal=None, problem=broken)) == (Phase.FAILED, Reason.TEMPLATE_BROKEN)


def test_stopped_is_said_only_when_nothing_runs_or_is_about_to() -> None:
    stopped = WISH.model_copy(update={"running": False})
    assert outcome(VIEW, stopped) == (Phase.STOPPING, None)
    assert outcome(TerminalView(WISH.terminal_id, in_flight=True), stopped) == (Phase.STOPPING, None)
    assert outcome(TerminalView(WISH.terminal_id), stopped) == (Phase.STOPPED, None)
    assert outcome(VIEW, None) == (Phase.STOPPING, None)


def test_bots_are_judged_by_their_process_and_their_own_words() -> None:
    running = Running(3, NOW, bot_fingerprint(WISH, BOT))
    views = {
        BotPhase.STARTING: BotView(running),
        BotPhase.RUNNING: BotView(running, phase="running"),
        BotPhase.FAILED: BotView(failed_fingerprint=running.fingerprint),
        BotPhase.BACKING_OFF: BotView(restarts=NO_EXITS.delayed_until(NOW + 1)),
    }
    for phase, view in views.items():
        assert judge_bot(WISH, BOT, view, NOW)[0] is phase
    assert judge_bot(WISH, None, BotView(), NOW)[0] is BotPhase.STOPPED
