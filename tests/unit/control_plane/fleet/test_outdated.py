"""A database that is older than the world: what runs goes on, and nothing starts that may run elsewhere already."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from control_plane.assignments.model import Assignment
from control_plane.audit.model import AuditEntry
from control_plane.backup.aftermath import make_safe
from control_plane.fleet import outdated
from control_plane.fleet.model import Node
from control_plane.terminals.model import Terminal
from node_agent.protocol.messages import DesiredTerminal, Phase
from tests.unit.control_plane.world import PASSWORD, NodePlayer, Trader, World, observed

pytestmark = pytest.mark.both_databases


def restore(world: World) -> None:
    """As if the database as it is now came out of a backup."""
    with world.farm.database.write_as_system() as session:
        make_safe(session, world.farm, "local:root", "from a backup")


def wanted_of(node: NodePlayer) -> dict[str, DesiredTerminal]:
    return {each.terminal_id: each for each in node.desired}


def awaited(world: World) -> list[str]:
    with world.farm.database.read_as_system() as session:
        return [each.name for each in outdated.awaited(session)]


@pytest.fixture
def elsewhere(world: World) -> NodePlayer:
    return world.node(name="elsewhere")


def test_what_a_node_reports_as_running_goes_on_at_once(
    world: World, trader: Trader, node: NodePlayer, elsewhere: NodePlayer
) -> None:
    _, wanted = world.ready_account(trader, node)
    restore(world)
    node.make_ready(wanted)
    assert wanted_of(node)[wanted.terminal_id].running


def test_what_does_not_run_waits_until_every_node_has_settled(
    world: World, trader: Trader, node: NodePlayer, elsewhere: NodePlayer
) -> None:
    """The terminal was moved after the backup: another node runs it, of which the restored farm knows nothing."""
    _, wanted = world.ready_account(trader, node)
    restore(world)
    node.sync()
    assert not wanted_of(node)[wanted.terminal_id].running
    moved = observed(wanted, epoch=wanted.epoch + 1)
    elsewhere.sync(moved)
    assert elsewhere.desired == [], "it is told to stop it"
    for _ in range(2):
        node.sync()
        elsewhere.sync(moved)
        world.run_loops()
        assert awaited(world) == ["elsewhere"]
        assert not wanted_of(node)[wanted.terminal_id].running
    elsewhere.sync(observed(wanted, epoch=wanted.epoch + 1, phase=Phase.STOPPED))
    world.run_loops()
    node.sync()
    assert awaited(world) == []
    assert wanted_of(node)[wanted.terminal_id].running


def test_a_terminal_that_came_back_to_its_node_keeps_the_epoch_that_it_runs_under(
    world: World, trader: Trader, node: NodePlayer
) -> None:
    _, wanted = world.ready_account(trader, node)
    restore(world)
    node.make_ready(wanted, epoch=wanted.epoch + 2)
    now = wanted_of(node)[wanted.terminal_id]
    assert (now.epoch, now.running) == (wanted.epoch + 2, True)


def test_nothing_is_placed_before_all_nodes_have_reported_and_the_owner_is_told_why(
    world: World, trader: Trader, node: NodePlayer, elsewhere: NodePlayer
) -> None:
    restore(world)
    account = trader_again(world, trader).connect()
    world.run_loops()
    shown = trader.call("GET", f"/accounts/{account['id']}")["terminal"]
    assert "restored from a backup" in shown["detail"]
    for each in (node, elsewhere, node, elsewhere):
        each.sync()
    world.run_loops()
    assert sum(len(each.fetch().terminals) for each in (node, elsewhere)) == 1


def trader_again(world: World, trader: Trader) -> Trader:
    """Signed in anew, as everybody has to after a restore."""
    trader.call("POST", "/auth/sign-in", 200, {"email": trader.email, "password": PASSWORD})
    return trader


def test_a_node_that_an_operator_vouches_to_be_dead_is_not_waited_for(
    world: World, trader: Trader, node: NodePlayer, elsewhere: NodePlayer
) -> None:
    _, wanted = world.ready_account(trader, node)
    restore(world)
    node.sync()
    world.let_pass(400, node)
    assert not wanted_of(node)[wanted.terminal_id].running
    operator = world.operator()
    shown = operator.call("GET", "/nodes")["items"]
    assert [each["name"] for each in shown if each["awaited"]] == ["elsewhere"]
    operator.call("POST", f"/nodes/{elsewhere.node_id}/confirm-dead", 200, {"reason": "burnt"})
    world.let_pass(60, node)
    assert wanted_of(node)[wanted.terminal_id].running


def test_nothing_is_believed_about_how_a_silent_node_fences(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = world.ready_account(trader, node)
    trader.call("PUT", f"/accounts/{account}/lease-policy", 200, {"policy": "self_fence"})
    node.fetch()
    node.obey()
    restore(world)
    world.let_pass(600)
    assert [each.released_at for each in world.assignments(wanted.terminal_id)] == [None]


class TestAnEpochThatWasNeverHandedOutHere:
    """Nobody has said that a backup was restored: it is found out by what nodes report."""

    def test_holds_everything_and_tells(
        self, world: World, trader: Trader, node: NodePlayer, elsewhere: NodePlayer
    ) -> None:
        _, wanted = world.ready_account(trader, node)
        elsewhere.sync(observed(wanted, epoch=wanted.epoch + 1))
        assert awaited(world) == ["node-1", "elsewhere"]
        node.sync()
        assert not wanted_of(node)[wanted.terminal_id].running
        with world.farm.database.read_as_system() as session:
            assert session.scalar(select(Terminal.last_epoch)) == wanted.epoch + 1
            (deed,) = session.query(AuditEntry).filter_by(action="hold_after_outdated_database")
        assert deed.subject_id == elsewhere.node_id
        assert "mt5farm_nodes_awaited 2.0" in world.farm.metrics.exposition().decode()

    def test_is_noticed_once(self, world: World, trader: Trader, node: NodePlayer, elsewhere: NodePlayer) -> None:
        _, wanted = world.ready_account(trader, node)
        for _ in range(3):
            elsewhere.sync(observed(wanted, epoch=wanted.epoch + 1))
        with world.farm.database.read_as_system() as session:
            assert session.query(AuditEntry).filter_by(action="hold_after_outdated_database").count() == 1

    def test_is_not_believed_when_no_farm_could_have_handed_it_out(
        self, world: World, trader: Trader, node: NodePlayer, elsewhere: NodePlayer
    ) -> None:
        _, wanted = world.ready_account(trader, node)
        elsewhere.sync(observed(wanted, epoch=2**31))
        elsewhere.sync(observed(wanted, epoch=2**63))
        assert awaited(world) == []

    def test_an_older_one_is_nothing_new(
        self, world: World, trader: Trader, node: NodePlayer, elsewhere: NodePlayer
    ) -> None:
        _, wanted = world.ready_account(trader, node)
        elsewhere.sync(observed(wanted))
        assert awaited(world) == []


def test_a_settled_farm_waits_for_nobody(world: World, trader: Trader, node: NodePlayer) -> None:
    _, wanted = world.ready_account(trader, node)
    restore(world)
    node.make_ready(wanted)
    node.make_ready(wanted)
    world.run_loops()
    with world.farm.database.read_as_system() as session:
        assert session.scalars(select(Node.awaited)).all() == [False]
        assert session.scalars(select(Assignment.unproven)).all() == [False]
        assert not outdated.is_waiting(session)
