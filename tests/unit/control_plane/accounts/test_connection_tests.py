"""A login is tried once, and nothing of it stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from control_plane.accounts.trial import Outcome, TrialFacts, judge_trial
from control_plane.trading.model import Deal
from control_plane.vault.model import SealedCredentials
from node_agent.protocol.messages import DesiredTerminal, Phase, Reason
from tests.unit.control_plane.world import SERVER, START, NodePlayer, Trader, World, deal_body, event, observed

pytestmark = pytest.mark.both_databases
LOGIN = {"login": 7001, "password": "broker-secret", "server": SERVER}


def begin(world: World, trader: Trader, node: NodePlayer, **changes: Any) -> tuple[str, DesiredTerminal]:
    test = trader.call("POST", "/connection-tests", 202, {**LOGIN, **changes})
    world.run_loops()
    wanted = next(each for each in node.fetch().terminals if each.login == changes.get("login", 7001))
    return test["id"], wanted


def result(trader: Trader, test_id: str) -> tuple[str, str]:
    shown = trader.call("GET", f"/connection-tests/{test_id}")
    return shown["outcome"], shown["words"]


def sealed(world: World) -> int:
    with world.farm.database.read_as_system() as session:
        return session.scalar(select(func.count()).select_from(SealedCredentials)) or 0


def test_a_right_password_is_said_to_be_right_and_then_forgotten(
    world: World, trader: Trader, node: NodePlayer
) -> None:
    test_id, wanted = begin(world, trader, node)
    assert result(trader, test_id) == ("pending", "A terminal is being started.")
    node.sync(observed(wanted, phase=Phase.READY))
    world.run_loops()
    assert result(trader, test_id)[0] == "connected"
    assert [each.running for each in node.fetch().terminals] == [False]
    node.obey()
    assert node.fetch().terminals == []
    assert sealed(world) == 0
    assert trader.connect(7001)["login"] == 7001


def test_it_is_no_account(world: World, trader: Trader, node: NodePlayer) -> None:
    _, wanted = begin(world, trader, node)
    node.sync(observed(wanted, phase=Phase.READY))
    assert trader.call("GET", "/accounts")["items"] == []
    for path in ("", "/uptime", "/deals", "/positions"):
        assert trader.call("GET", f"/accounts/{wanted.account_id}{path}", 404)["code"] == "account_not_found"
    assert node.deliver(event(wanted, "evt_1", deal_body(1))).accepted == ["evt_1"]
    with world.farm.database.read_as_system() as session:
        assert session.scalar(select(func.count()).select_from(Deal)) == 0


def test_the_first_refusal_ends_it_and_counts_against_the_budget(
    world: World, trader: Trader, node: NodePlayer
) -> None:
    """The node would try a second time; a test does not."""
    for _ in range(world.farm.settings.refused_logins_of_account):
        test_id, wanted = begin(world, trader, node, password="wrong")
        node.sync(observed(wanted, phase=Phase.LOGGING_IN, reason=Reason.BAD_CREDENTIALS, last_answer_at=None))
        world.run_loops()
        assert result(trader, test_id) == ("refused", f"{SERVER} refused this login and password.")
        node.fetch()
        node.obey()
    assert trader.call("POST", "/connection-tests", 429, LOGIN)["code"] == "lock_out_budget"
    trader.call("POST", "/connection-tests", 202, {**LOGIN, "login": 7002})


def test_a_broker_that_does_not_answer_is_not_a_wrong_password(world: World, trader: Trader, node: NodePlayer) -> None:
    test_id, wanted = begin(world, trader, node)
    for _ in range(7):
        world.clock.advance(seconds=30)
        node.sync(observed(wanted, phase=Phase.LOGGING_IN, reason=Reason.BROKER_UNREACHABLE, last_answer_at=None))
    world.run_loops()
    assert result(trader, test_id) == ("unreachable", f"{SERVER} did not answer. The password was not judged.")


def test_without_a_node_it_says_so(world: World, trader: Trader) -> None:
    test_id = trader.call("POST", "/connection-tests", 202, LOGIN)["id"]
    world.clock.advance(seconds=200)
    world.run_loops()
    world.run_loops()
    outcome, words = result(trader, test_id)
    assert (outcome, words.startswith("It could not be tried.")) == ("no_place", True)
    assert sealed(world) == 0


def test_a_login_that_runs_in_the_farm_is_not_tried_beside_it(world: World, trader: Trader, node: NodePlayer) -> None:
    world.ready_account(trader, node, 7001)
    assert trader.call("POST", "/connection-tests", 409, LOGIN)["code"] == "account_already_connected"
    other = world.trader("other@example.com")
    assert other.call("POST", "/connection-tests", 409, LOGIN)["code"] == "account_runs_elsewhere"


def test_only_a_few_at_once(world: World, trader: Trader) -> None:
    for login in range(3):
        trader.call("POST", "/connection-tests", 202, {**LOGIN, "login": 7001 + login})
    trader.call("POST", "/connection-tests", 429, {**LOGIN, "login": 7009})


def test_it_is_nobody_elses(world: World, trader: Trader) -> None:
    test_id = trader.call("POST", "/connection-tests", 202, LOGIN)["id"]
    stranger = world.trader("stranger@example.com")
    assert stranger.call("GET", f"/connection-tests/{test_id}", 404)["code"] == "connection_test_not_found"


@given(
    st.booleans(),
    st.none() | st.sampled_from(Phase),
    st.none() | st.sampled_from(Reason),
    st.booleans(),
    st.integers(-200, 200),
)
def test_it_always_ends_in_words_and_never_calls_a_password_wrong_that_was_not_refused(
    placed: bool, phase: Phase | None, reason: Reason | None, answered: bool, overdue: int
) -> None:
    facts = TrialFacts("Demo", placed, "", phase, reason, answered)
    judged = judge_trial(facts, START + timedelta(seconds=overdue), START)
    assert judged.words.endswith(".")
    assert (judged.outcome is Outcome.REFUSED) == (phase is not None and reason is Reason.BAD_CREDENTIALS)
    if overdue >= 0:
        assert judged.outcome is not Outcome.PENDING
    if judged.outcome is Outcome.CONNECTED:
        assert phase in {Phase.READY, Phase.DEGRADED}
