"""A password is tried once, and a server that refuses many of the farm's logins is left alone: brokers lock out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from control_plane.vault.model import LoginRefusal
from control_plane.vault.state import REFUSAL_WINDOW, waits_until
from node_agent.protocol.messages import DesiredTerminal, Phase, Reason
from tests.tenants import add_tenant, move_user
from tests.unit.control_plane.world import START, NodePlayer, Trader, World, build_world, observed

pytestmark = pytest.mark.both_databases

moments = st.lists(st.integers(0, 7200).map(lambda second: START - timedelta(seconds=second)), max_size=30)


@given(moments, st.integers(1, 12))
def test_the_budget_is_never_exceeded_within_any_window(refusals: list[datetime], budget: int) -> None:
    until = waits_until(refusals, budget, START)
    recent = [at for at in refusals if at > START - REFUSAL_WINDOW]
    assert (until is None) == (len(recent) < budget)
    if until is not None:
        assert START < until <= START + REFUSAL_WINDOW
        assert len([at for at in refusals if at > until - REFUSAL_WINDOW]) < budget
        assert waits_until(refusals, budget, until) is None


def refuse(node: NodePlayer, wanted: DesiredTerminal) -> None:
    node.fetch()
    node.sync(observed(wanted, phase=Phase.FAILED, reason=Reason.BAD_CREDENTIALS, last_answer_at=None))


def connected(world: World, trader: Trader, node: NodePlayer, login: int) -> tuple[str, DesiredTerminal]:
    account = trader.connect(login)["id"]
    world.run_loops()
    return account, next(each for each in node.fetch().terminals if each.account_id == account)


def test_a_refused_password_is_not_tried_on_another_node(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = connected(world, trader, node, 5001)
    refuse(node, wanted)
    trader.call("POST", f"/accounts/{account}/undeploy", 202)
    node.fetch()
    node.obey()
    trader.call("POST", f"/accounts/{account}/deploy", 202)
    world.run_loops()
    assert node.fetch().terminals == []
    assert "Correct the password" in trader.call("GET", f"/accounts/{account}")["terminal"]["detail"]
    trader.call("PUT", f"/accounts/{account}/credentials", 202, {"password": "right"})
    world.run_loops()
    assert [each.account_id for each in node.fetch().terminals] == [account]


@pytest.fixture
def careful(tmp_path: Path) -> Iterator[World]:
    """A farm that shows one server two wrong passwords an hour, and one account two."""
    made = build_world(tmp_path / "careful", refused_logins_of_server=2, refused_logins_of_account=2)
    yield made
    made.farm.stop()


def test_a_server_that_refused_too_many_is_left_alone_for_a_while(careful: World) -> None:
    trader, node = careful.trader(), careful.node(slots=8)
    known, _ = careful.ready_account(trader, node)
    for login in (6001, 6002):
        refuse(node, connected(careful, trader, node, login)[1])
    fresh = trader.connect(6003)["id"]
    careful.run_loops()
    assert fresh not in {each.account_id for each in node.fetch().terminals}
    shown = trader.call("GET", f"/accounts/{fresh}")["terminal"]["detail"]
    assert "this one is tried at 10:00 UTC" in shown
    for verb in ("undeploy", "deploy"):
        trader.call("POST", f"/accounts/{known}/{verb}", 202)
        node.fetch()
        node.sync(*(observed(each, phase=Phase.STOPPED) for each in node.desired if not each.running))
        careful.run_loops()
    assert known in {each.account_id for each in node.fetch().terminals}
    careful.clock.advance(hours=1)
    careful.run_loops()
    node.sync()
    careful.run_loops()
    assert fresh in {each.account_id for each in node.fetch().terminals}


def test_an_account_takes_only_so_many_wrong_passwords(careful: World) -> None:
    trader, node = careful.trader(), careful.node()
    account, wanted = connected(careful, trader, node, 5001)
    path = f"/accounts/{account}/credentials"
    refuse(node, wanted)
    trader.call("PUT", path, 202, {"password": "another"})
    refuse(node, wanted)
    refuse(node, wanted)
    problem = trader.request("PUT", path, {"password": "a third"})
    assert (problem.status_code, problem.json()["code"]) == (429, "lock_out_budget")
    assert int(problem.headers["Retry-After"]) == 3601
    careful.clock.advance(seconds=3601)
    trader.call("PUT", path, 202, {"password": "a third"})


def test_the_retry_of_a_terminal_that_is_still_logging_in_is_no_refusal(
    world: World, trader: Trader, node: NodePlayer
) -> None:
    _, wanted = connected(world, trader, node, 5001)
    node.sync(observed(wanted, phase=Phase.LOGGING_IN, reason=Reason.BAD_CREDENTIALS, last_answer_at=None))
    with world.farm.database.read_as_system() as session:
        assert session.query(LoginRefusal).count() == 0


def test_refusals_are_forgotten_after_a_day(world: World, trader: Trader, node: NodePlayer) -> None:
    refuse(node, connected(world, trader, node, 5001)[1])
    world.clock.advance(days=1, seconds=1)
    world.run_loops()
    with world.farm.database.read_as_system() as session:
        assert session.query(LoginRefusal).count() == 0


def test_removing_and_connecting_anew_gives_no_more_tries(
    careful: World,
) -> None:
    """Nor do the tries of another tenant take any away."""
    trader, node = careful.trader(), careful.node(slots=8)
    for _ in range(2):
        account, wanted = connected(careful, trader, node, 6001)
        refuse(node, wanted)
        trader.call("DELETE", f"/accounts/{account}", 202)
        node.fetch()
        node.obey()
    again = trader.connect(6001)["id"]
    careful.run_loops()
    assert node.fetch().terminals == []
    shown = trader.call("GET", f"/accounts/{again}")["terminal"]["detail"]
    assert "passwords for this login" in shown
    with careful.farm.database.write_as_system() as session:
        session.execute(update(LoginRefusal).values(server="Another-Server"))
    stranger = careful.trader("stranger@example.com")
    move_user(careful, stranger.user["id"], add_tenant(careful, "broker"))
    trader.call("DELETE", f"/accounts/{again}", 202)
    stranger.connect(6001)
    careful.run_loops()
    assert [each.login for each in node.fetch().terminals] == [6001]
