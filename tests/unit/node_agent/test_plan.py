"""From what is observed to what is desired. The properties run the plan against a small world that obeys or breaks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.observation import BotView, Link, Probe, Problem, Running, TerminalView
from node_agent.plan import (
    Action,
    Limits,
    Verb,
    bot_fingerprint,
    plan,
    terminal_fingerprint,
    wish_fingerprint,
    worker_fingerprint,
)
from node_agent.protocol.messages import DesiredBot, DesiredTerminal, Guard, Reason, TemplateRef, TerminalRequest
from node_agent.quarantine import NO_STRIKES
from node_agent.restarts import NO_EXITS, RestartPolicy
from tests.unit.node_agent.wishes import ID, wish

BOT = "bot_0000000000000001"
NOW = 1_000.0
LIMITS = Limits(probe_wedged=45.0)
STARTS = {Verb.START_TERMINAL, Verb.START_WORKER, Verb.START_BOT}


def bot(revision: int = 1) -> DesiredBot:
    return DesiredBot(
        bot_id=BOT,
        revision=revision,
        strategy="s",
        symbol="EURUSD",
        timeframe="M1",
        volume=0.1,
        magic=1,
        parameters={},
    )


def whole(desired: DesiredTerminal, **changes: Any) -> TerminalView:
    """What is seen when everything is as desired."""
    view = TerminalView(
        ID,
        terminal=Running(10, NOW - 100, terminal_fingerprint(desired)),
        worker=Running(11, NOW - 100, worker_fingerprint(desired)),
        bots={each.bot_id: BotView(Running(12, NOW - 90, bot_fingerprint(desired, each))) for each in desired.bots},
        probe=Probe(Link.AUTHORISED, NOW, login=7, server="Demo", connected=True, trade_allowed=True),
        authorised_since=NOW - 95,
        applied_guard=desired.guard,
    )
    return replace(view, **changes)


def verbs(desired: DesiredTerminal | None, view: TerminalView, now: float = NOW) -> list[Verb]:
    wishes = {ID: desired} if desired else {}
    return [action.verb for action in plan(wishes, {ID: view}, now, LIMITS).get(ID, [])]


def test_nothing_is_done_when_all_is_as_desired() -> None:
    desired = wish(bots=[bot()])
    assert verbs(desired, whole(desired)) == []


def test_nothing_is_planned_while_an_action_is_in_flight() -> None:
    assert verbs(wish(), TerminalView(ID, in_flight=True)) == []
    assert verbs(None, TerminalView(ID, in_flight=True)) == []


def test_a_new_terminal_starts_with_its_worker_and_bots_follow_the_login() -> None:
    desired = wish(bots=[bot()])
    assert verbs(desired, TerminalView(ID)) == [Verb.START_TERMINAL, Verb.START_WORKER]
    not_yet = whole(desired, bots={}, authorised_since=None, probe=Probe(Link.CONNECTING, NOW))
    assert verbs(desired, not_yet) == []
    assert verbs(desired, whole(desired, bots={})) == [Verb.START_BOT]


def test_everything_is_stopped_in_the_order_of_the_trade_path() -> None:
    desired = wish(bots=[bot()])
    stops = [Verb.STOP_BOT, Verb.COLLECT, Verb.STOP_WORKER, Verb.STOP_TERMINAL]
    assert verbs(wish(running=False), whole(desired)) == stops
    assert verbs(None, whole(desired)) == [*stops, Verb.DESTROY]
    assert verbs(wish(running=False), TerminalView(ID)) == []


def test_a_dead_terminal_keeps_its_worker_and_bots() -> None:
    desired = wish(bots=[bot()])
    assert verbs(desired, whole(desired, terminal=None, probe=None, authorised_since=None)) == [Verb.START_TERMINAL]


def test_back_off_is_respected() -> None:
    desired = wish(bots=[bot()])
    later = NO_EXITS.delayed_until(NOW + 1)
    assert verbs(desired, TerminalView(ID, restarts=later)) == []
    assert verbs(desired, whole(desired, worker=None, worker_restarts=later)) == []
    resting = {BOT: BotView(restarts=later)}
    assert verbs(desired, whole(desired, bots=resting)) == []
    assert verbs(desired, whole(desired, bots=resting), NOW + 1) == [Verb.START_BOT]


def test_a_refusal_stops_worker_and_terminal_and_the_second_one_holds() -> None:
    desired = wish()
    refused = whole(desired, probe=Probe(Link.REFUSED, NOW), authorised_since=None)
    assert verbs(desired, refused) == [Verb.STOP_WORKER, Verb.REFUSE_TERMINAL]
    held = TerminalView(ID, refusals=2, refused_version=1)
    assert verbs(desired, held) == []
    assert verbs(wish(credentials_version=2), held) == [Verb.START_TERMINAL, Verb.START_WORKER]


def test_a_refusal_of_older_credentials_does_not_count_against_new_ones() -> None:
    view = whole(wish(), probe=Probe(Link.REFUSED, NOW))
    planned = verbs(wish(credentials_version=2), view)
    assert Verb.REFUSE_TERMINAL not in planned
    assert planned[-2:] == [Verb.START_TERMINAL, Verb.START_WORKER]


@pytest.mark.parametrize("change", [{"login": 8}, {"server": "Other"}, {"credentials_version": 2}])
def test_another_account_or_password_restarts_the_terminal(change: dict[str, Any]) -> None:
    desired = wish(bots=[bot()])
    planned = verbs(wish(bots=[bot()], **change), whole(desired))
    assert planned.index(Verb.STOP_TERMINAL) < planned.index(Verb.START_TERMINAL)


def test_a_new_epoch_replaces_worker_and_bots_only() -> None:
    planned = verbs(wish(epoch=2, bots=[bot()]), whole(wish(bots=[bot()])))
    assert planned == [Verb.STOP_BOT, Verb.STOP_WORKER, Verb.START_WORKER]


def test_a_newly_sealed_box_alone_changes_nothing() -> None:
    assert verbs(wish(credentials="another box"), whole(wish())) == []


def test_a_probe_that_does_not_return_costs_the_worker() -> None:
    desired = wish()
    assert verbs(desired, whole(desired, probe_started_at=NOW - 44)) == []
    assert verbs(desired, whole(desired, probe_started_at=NOW - 45)) == [Verb.KILL_WORKER]


def test_three_wedged_workers_in_ten_minutes_restart_the_terminal() -> None:
    desired = wish()
    view = whole(desired, terminal=Running(10, NOW - 3000, terminal_fingerprint(desired)))
    assert verbs(desired, replace(view, wedges=(NOW - 500, NOW - 300))) == []
    restart = [Verb.STOP_TERMINAL, Verb.START_TERMINAL]
    assert verbs(desired, replace(view, wedges=(NOW - 500, NOW - 300, NOW - 1))) == restart
    assert verbs(desired, replace(view, wedges=(NOW - 700, NOW - 300, NOW - 1))) == []


def test_a_new_guard_is_configured_without_a_restart() -> None:
    assert verbs(wish(guard=Guard(max_volume=1.0)), whole(wish())) == [Verb.CONFIGURE_WORKER]


def test_a_failure_that_cannot_heal_waits_for_another_wish() -> None:
    desired = wish()
    problem = Problem(Reason.TEMPLATE_BROKEN, "no", permanent=True, wish=wish_fingerprint(desired))
    assert verbs(desired, TerminalView(ID, problem=problem)) == []
    assert verbs(wish(epoch=2), TerminalView(ID, problem=problem)) == [Verb.START_TERMINAL, Verb.START_WORKER]


def test_a_bot_follows_its_revision_and_stays_down_once_it_gave_up() -> None:
    old, new = wish(bots=[bot()]), wish(bots=[bot(revision=2)])
    assert verbs(new, whole(old)) == [Verb.STOP_BOT, Verb.START_BOT]
    gave_up = {BOT: BotView(failed_fingerprint=bot_fingerprint(old, bot()))}
    assert verbs(old, whole(old, bots=gave_up)) == []
    assert verbs(new, whole(new, bots=gave_up)) == [Verb.START_BOT]
    assert verbs(wish(), whole(old)) == [Verb.STOP_BOT]


def test_a_request_is_carried_out_once() -> None:
    desired = wish(requests=[TerminalRequest(request_id="r1", kind="restart")])
    planned = verbs(desired, whole(wish()))
    assert planned == [Verb.COLLECT, Verb.STOP_WORKER, Verb.STOP_TERMINAL, Verb.LIFT, Verb.FINISH_REQUEST]
    assert verbs(desired, whole(wish(), finished_requests=("r1",))) == []


def test_logs_that_cannot_be_packed_keep_nothing_else_from_being_done() -> None:
    packing = [Verb.COLLECT_LOGS, Verb.FINISH_REQUEST]
    desired = wish(requests=[TerminalRequest(request_id="r1", kind="collect_logs")])
    assert verbs(desired, whole(wish())) == packing
    assert verbs(desired, whole(wish(), terminal=None)) == [Verb.START_TERMINAL, *packing]
    stopped = wish(running=False, requests=desired.requests)
    assert verbs(stopped, whole(wish())) == [Verb.COLLECT, Verb.STOP_WORKER, Verb.STOP_TERMINAL, *packing]


@pytest.mark.parametrize("away", [{"terminal": None}, {"worker": None}])
def test_a_bot_is_stopped_also_while_its_terminal_is_away(away: dict[str, Any]) -> None:
    later = NO_EXITS.delayed_until(NOW + 100)
    view = whole(wish(bots=[bot()]), restarts=later, worker_restarts=later, **away)
    assert verbs(wish(), view) == [Verb.STOP_BOT]
    assert verbs(wish(bots=[bot()]), view) == []


@dataclass
class World:
    """Carries out actions as told, except those that break."""

    view: TerminalView = field(default_factory=lambda: TerminalView(ID))
    there: bool = True
    log: list[Verb] = field(default_factory=list)

    def carry_out(self, action: Action, desired: DesiredTerminal | None, now: float) -> None:
        view = self.view
        self.log.append(action.verb)
        match action.verb:
            case Verb.START_TERMINAL:
                assert desired is not None
                assert view.terminal is None, "two terminals for one account"
                self.view = replace(view, terminal=Running(1, now, terminal_fingerprint(desired)), authorised_since=now)
            case Verb.START_WORKER:
                assert desired is not None
                assert view.worker is None
                running = Running(2, now, worker_fingerprint(desired))
                self.view = replace(view, worker=running, applied_guard=desired.guard, probe=None)
            case Verb.START_BOT:
                assert desired is not None
                assert view.worker is not None
                wanted = next(each for each in desired.bots if each.bot_id == action.bot_id)
                started = BotView(Running(3, now, bot_fingerprint(desired, wanted)))
                self.view = replace(view, bots={**view.bots, action.bot_id: started})
            case Verb.STOP_BOT:
                self.view = replace(view, bots={**view.bots, action.bot_id: BotView()})
            case Verb.STOP_WORKER | Verb.KILL_WORKER:
                assert action.verb is Verb.KILL_WORKER or not any(each.running for each in view.bots.values())
                self.view = replace(view, worker=None, probe=None)
            case Verb.STOP_TERMINAL | Verb.REFUSE_TERMINAL:
                self.view = replace(view, terminal=None, authorised_since=None, probe=None)
            case Verb.CONFIGURE_WORKER:
                assert desired is not None
                self.view = replace(view, applied_guard=desired.guard)
            case Verb.FINISH_REQUEST:
                self.view = replace(view, finished_requests=(*view.finished_requests, action.request_id))
            case Verb.LIFT:
                self.view = replace(view, restarts=view.restarts.lifted())
            case Verb.DESTROY:
                assert view.terminal is None
                assert view.worker is None
                self.view, self.there = TerminalView(ID), False
            case _:
                pass

    def kill(self, what: str, now: float) -> None:
        policy = RestartPolicy(settled=30.0, base=5.0, cap=300.0, window=900.0, limit=5)
        view = self.view
        if what == "terminal" and view.terminal:
            restarts = view.restarts.after_exit(policy, view.terminal.started_at, now, 0.0)
            self.view = replace(view, terminal=None, authorised_since=None, probe=None, restarts=restarts)
        elif what == "worker" and view.worker:
            restarts = view.worker_restarts.after_exit(policy, view.worker.started_at, now, 0.0)
            self.view = replace(view, worker=None, probe=None, worker_restarts=restarts)
        elif what == "bot" and BOT in view.bots:
            self.view = replace(view, bots={BOT: BotView()})


wishes = st.one_of(
    st.none(),
    st.builds(
        lambda running, epoch, version, bots, volume, requests: wish(
            running=running,
            epoch=epoch,
            credentials_version=version,
            bots=bots,
            guard=Guard(max_volume=volume),
            requests=requests,
        ),
        st.booleans(),
        st.integers(1, 3),
        st.integers(1, 3),
        st.lists(st.builds(bot, st.integers(1, 3)), max_size=1),
        st.sampled_from([None, 1.0]),
        st.lists(
            st.builds(TerminalRequest, request_id=st.sampled_from(["r1", "r2"]), kind=st.just("restart")), max_size=1
        ),
    ),
)
steps = st.lists(
    st.tuples(wishes, st.sampled_from(["", "terminal", "worker", "bot"]), st.integers(0, 3)), min_size=1, max_size=12
)


def advance(world: World, desired: DesiredTerminal | None, now: float, broken_after: int | None = None) -> int:
    """One tick; returns how many actions were planned. Everything after `broken_after` actions fails."""
    wanted = {ID: desired} if desired else {}
    seen = {ID: world.view} if world.there else {}
    actions = plan(wanted, seen, now, LIMITS).get(ID, [])
    if actions:
        world.there = True
    for action in actions[:broken_after]:
        world.carry_out(action, desired, now)
    return len(actions)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_any_wish_is_reached_from_anywhere_and_then_nothing_more_is_done(
    history: list[tuple[DesiredTerminal | None, str, int]],
) -> None:
    world, now = World(), NOW
    desired = None
    for desired, victim, done in history:
        now += 1
        world.kill(victim, now)
        advance(world, desired, now, broken_after=done)
    for _ in range(8):
        now += 400
        advance(world, desired, now)
    assert advance(world, desired, now + 400) == 0
    view = world.view
    if desired is None:
        assert not world.there
    elif not desired.running:
        assert (view.terminal, view.worker) == (None, None)
    else:
        assert view.terminal is not None
        assert view.terminal.fingerprint == terminal_fingerprint(desired)
        assert view.worker is not None
        assert view.worker.fingerprint == worker_fingerprint(desired)
        running = {bot_id for bot_id, each in view.bots.items() if each.running}
        assert running == {each.bot_id for each in desired.bots}


@given(wishes, st.integers(2, 5), st.integers(0, 3))
def test_refused_credentials_are_never_started_again(
    desired: DesiredTerminal | None, refusals: int, extra: int
) -> None:
    version = desired.credentials_version if desired else 1
    view = TerminalView(ID, refusals=refusals, refused_version=version + extra)
    assert not STARTS & set(verbs(desired, view, NOW + 1e6))


class TestFence:
    def fenced(self, view: TerminalView, **changes: Any) -> list[Verb]:
        desired = wish(**({"lease_policy": "self_fence", "bots": [bot()]} | changes))
        actions = plan({ID: desired}, {ID: view}, NOW, LIMITS, lease_over=True)
        return [each.verb for each in actions.get(ID, [])]

    def test_the_terminal_dies_before_its_worker_and_without_waiting_for_a_collection(self) -> None:
        view = whole(wish(lease_policy="self_fence", bots=[bot()]))
        assert self.fenced(view) == [Verb.STOP_BOT, Verb.STOP_TERMINAL, Verb.STOP_WORKER]

    def test_nothing_starts_and_no_request_is_carried_out(self) -> None:
        request = TerminalRequest(request_id="r", kind="restart")
        assert self.fenced(TerminalView(ID), requests=[request]) == []

    def test_what_keeps_running_is_left_alone(self) -> None:
        desired = wish(bots=[bot()])
        assert plan({ID: desired}, {ID: whole(desired)}, NOW, LIMITS, lease_over=True) == {}

    def test_what_nobody_wants_is_removed_all_the_same(self) -> None:
        actions = plan({}, {ID: TerminalView(ID)}, NOW, LIMITS, lease_over=True)
        assert [each.verb for each in actions[ID]] == [Verb.DESTROY]


def other(number: int) -> str:
    return f"ter_{number:016d}"


class TestRoom:
    def starts(self, views: dict[str, TerminalView], **changes: Any) -> list[str]:
        wanted = {each: wish(terminal_id=each) for each in views}
        actions = plan(wanted, views, NOW, replace(LIMITS, starts=3), **changes)
        return [each for each, steps in actions.items() if Verb.START_TERMINAL in {step.verb for step in steps}]

    def test_only_so_many_start_at_a_time(self) -> None:
        views = {other(number): TerminalView(other(number)) for number in range(8)}
        assert self.starts(views) == [other(0), other(1), other(2)]

    def test_those_on_their_way_take_room_until_they_are_in_or_late(self) -> None:
        fingerprint = terminal_fingerprint(wish())
        young = TerminalView(other(1), terminal=Running(1, NOW - 5, fingerprint))
        late = replace(young, terminal_id=other(2), terminal=Running(2, NOW - 500, fingerprint))
        inside = replace(young, terminal_id=other(3), authorised_since=NOW - 1)
        starting = TerminalView(other(4), in_flight=True)
        views = {each.terminal_id: each for each in (young, late, inside, starting)}
        waiting = {other(number): TerminalView(other(number)) for number in (5, 6)}
        assert self.starts(views | waiting) == [other(5)]

    def test_a_node_under_pressure_starts_nothing_and_keeps_what_runs(self) -> None:
        assert self.starts({ID: TerminalView(ID)}, may_start=False) == []
        assert plan({ID: wish()}, {ID: whole(wish())}, NOW, LIMITS, may_start=False) == {}


class TestRecycling:
    def recycled(self, view: TerminalView, desired: DesiredTerminal) -> list[Verb]:
        actions = plan({ID: desired}, {ID: view}, NOW, LIMITS, recycle=ID)
        return [each.verb for each in actions.get(ID, [])]

    def test_bots_and_trading_pause_before_it_is_made_sure_that_the_account_is_flat(self) -> None:
        desired = wish(bots=[bot()])
        assert self.recycled(whole(desired), desired) == [
            Verb.STOP_BOT,
            Verb.PAUSE_TRADING,
            Verb.CHECK_FLAT,
            Verb.COLLECT,
            Verb.STOP_TERMINAL,
            Verb.START_TERMINAL,
        ]

    def test_what_is_being_replaced_anyway_is_not_recycled(self) -> None:
        desired = wish(credentials_version=2)
        assert Verb.PAUSE_TRADING not in self.recycled(whole(wish()), desired)


class TestPinnedBuild:
    PINNED = TemplateRef(name="t", build=5000, sha256="0" * 64, size=1)

    def verbs(self, build: int | None, **changes: Any) -> list[Verb]:
        desired = wish(template=self.PINNED)
        view = whole(desired, **changes)
        assert view.probe is not None
        view = replace(view, probe=replace(view.probe, build=build))
        return [each.verb for each in plan({ID: desired}, {ID: view}, NOW, LIMITS).get(ID, [])]

    @pytest.mark.parametrize("build", [5000, None])
    def test_the_right_build_and_one_that_is_not_known_are_left_alone(self, build: int | None) -> None:
        assert self.verbs(build) == []

    def test_a_terminal_that_has_updated_itself_is_taken_down_and_counted(self) -> None:
        assert self.verbs(5001)[-1] is Verb.REJECT_TERMINAL

    def test_after_too_many_it_waits_for_a_person(self) -> None:
        wanted = wish_fingerprint(wish(template=self.PINNED))
        strikes = NO_STRIKES.after(Reason.LIVE_UPDATE, wanted).after(Reason.LIVE_UPDATE, wanted)
        desired = wish(template=self.PINNED)
        assert plan({ID: desired}, {ID: TerminalView(ID, strikes=strikes)}, NOW, LIMITS) == {}
        anew = wish(template=self.PINNED, epoch=2)
        assert ID in plan({ID: anew}, {ID: TerminalView(ID, strikes=strikes)}, NOW, LIMITS)
