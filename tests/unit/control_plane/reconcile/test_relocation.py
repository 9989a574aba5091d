"""A terminal starts elsewhere exactly when it is proven to be dead where it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from control_plane.fleet.model import Node
from control_plane.fleet.state import Availability
from control_plane.reconcile.relocation import Relocation
from node_agent.protocol.messages import DesiredTerminal, Phase
from tests.unit.control_plane.world import (
    NodePlayer,
    Trader,
    World,
    build_world,
    deal_body,
    event,
    observed,
    report,
)

FENCED_AFTER = 240 * 1.02 + 10
LOST_AFTER = 300


@pytest.fixture
def guarded(world: World) -> NodePlayer:
    """A node whose watchdog is up."""
    node = world.node(name="guarded")
    node.report = report(watchdog_up=True)
    node.sync()
    return node


@pytest.fixture
def spare(world: World, guarded: NodePlayer) -> NodePlayer:
    node = world.node(name="spare")
    node.report = report(watchdog_up=True)
    return node


def self_fencing(world: World, trader: Trader, node: NodePlayer) -> tuple[str, DesiredTerminal]:
    """An account whose terminal, on this node, ends itself when the node loses touch; the node knows it."""
    account = trader.connect()["id"]
    trader.call("PUT", f"/accounts/{account}/lease-policy", 200, {"policy": "self_fence"})
    world.run_loops()
    wanted = next(each for each in node.fetch().terminals if each.account_id == account)
    node.make_ready(wanted)
    return account, wanted


def places(world: World, wanted: DesiredTerminal) -> list[tuple[int, str, str]]:
    return [(each.epoch, each.state, each.ended_by) for each in world.assignments(wanted.terminal_id)]


class TestSelfFence:
    def test_a_terminal_moves_once_its_node_is_lost_and_must_have_ended_it(
        self, world: World, trader: Trader, guarded: NodePlayer, spare: NodePlayer
    ) -> None:
        _, wanted = self_fencing(world, trader, guarded)
        assert wanted.lease_policy == "self_fence"
        world.let_pass(LOST_AFTER, spare)
        assert places(world, wanted) == [(1, "active", "")]
        world.let_pass(60, spare)
        assert places(world, wanted) == [(1, "released", "self_fenced"), (2, "reserved", "")]
        spare.obey()
        assert [(each.terminal_id, each.epoch) for each in spare.desired] == [(wanted.terminal_id, 2)]

    @pytest.mark.parametrize("watchdog_up", [False, None])
    def test_without_a_watchdog_nothing_is_proven(
        self, world: World, trader: Trader, guarded: NodePlayer, spare: NodePlayer, watchdog_up: bool | None
    ) -> None:
        _, wanted = self_fencing(world, trader, guarded)
        guarded.report = report() if watchdog_up is None else report(watchdog_up=watchdog_up)
        guarded.make_ready(wanted)
        world.let_pass(1200, spare)
        assert places(world, wanted) == [(1, "suspect", "")]

    def test_a_terminal_that_runs_on_waits_for_its_node(
        self, world: World, trader: Trader, guarded: NodePlayer, spare: NodePlayer
    ) -> None:
        _, wanted = world.ready_account(trader, guarded)
        world.let_pass(1200, spare)
        assert places(world, wanted) == [(1, "suspect", "")]
        guarded.make_ready(wanted)
        assert places(world, wanted) == [(1, "active", "")]

    def test_a_policy_counts_only_when_the_node_is_sure_to_follow_it(
        self, world: World, trader: Trader, guarded: NodePlayer, spare: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, guarded)
        trader.call("PUT", f"/accounts/{account}/lease-policy", 200, {"policy": "self_fence"})
        guarded.make_ready(wanted)  # the answer tells the node, but was it ever written down there?
        world.let_pass(400, spare)
        assert places(world, wanted) == [(1, "suspect", "")]
        guarded.make_ready(wanted)
        world.let_pass(400, spare)
        assert places(world, wanted)[0] == (1, "released", "self_fenced")

    def test_an_agent_that_was_replaced_has_to_confirm_the_policy_anew(
        self, world: World, trader: Trader, guarded: NodePlayer, spare: NodePlayer
    ) -> None:
        """One of protocol 1.0 has kept the snapshot without a policy, and its successor starts from that."""
        guarded.protocol, guarded.continuity = "1.0", ""
        guarded.sync()
        _, wanted = self_fencing(world, trader, guarded)
        guarded.protocol, guarded.continuity, guarded.boot_id, guarded.sequence = "1.1", "", "boot-2", 0
        before = guarded.generation
        answer = guarded.sync(observed(wanted))
        assert answer.generation > before
        assert answer.desired is not None
        world.let_pass(400, spare)
        assert places(world, wanted) == [(1, "suspect", "")]

    def test_a_policy_that_is_taken_back_protects_no_more_at_once(
        self, world: World, trader: Trader, guarded: NodePlayer, spare: NodePlayer
    ) -> None:
        account, wanted = self_fencing(world, trader, guarded)
        for policy in ("keep_running", "self_fence"):
            trader.call("PUT", f"/accounts/{account}/lease-policy", 200, {"policy": policy})
        world.let_pass(400, spare)
        assert places(world, wanted) == [(1, "suspect", "")]

    def test_the_lease_starts_with_our_answer_and_leaves_the_node_its_margin(
        self, world: World, trader: Trader, guarded: NodePlayer
    ) -> None:
        self_fencing(world, trader, guarded)
        with world.farm.database.read_as_system() as session:
            node = session.get(Node, guarded.node_id)
        assert node is not None
        assert node.lease_granted_at is not None
        assert node.fence_due_at is not None
        assert (node.fence_due_at - node.lease_granted_at).total_seconds() == pytest.approx(FENCED_AFTER)
        assert node.lease_granted_at == world.clock.now()

    def test_a_restart_of_the_control_plane_starts_the_silence_anew(
        self, world: World, trader: Trader, guarded: NodePlayer, spare: NodePlayer
    ) -> None:
        _, wanted = self_fencing(world, trader, guarded)
        world.let_pass(290, spare)
        world.clock.advance(seconds=120)  # nobody listened
        world.let_pass(300, spare)
        assert places(world, wanted) == [(1, "active", "")]
        world.let_pass(60, spare)
        assert places(world, wanted)[0] == (1, "released", "self_fenced")

    def test_a_shorter_fence_does_not_shorten_what_an_earlier_answer_allowed(
        self, world: World, guarded: NodePlayer
    ) -> None:
        with world.farm.database.write_as_system() as session:
            node = session.get_one(Node, guarded.node_id)
            world.farm.fleet.grant_lease(node, 240)
            allowed = node.fence_due_at
            world.farm.fleet.grant_lease(node, 10)
            assert node.fence_due_at == allowed
            world.farm.fleet.grant_lease(node, 300)
            assert node.fence_due_at is not None
            assert allowed is not None
            assert node.fence_due_at > allowed

    def test_a_node_that_was_lost_before_a_restart_is_still_lost_but_not_yet_proven_to_be(
        self, tmp_path: Path, first_start: Path
    ) -> None:
        shutil.copytree(first_start, tmp_path / "slow")
        world = build_world(tmp_path / "slow", fence_seconds=400)
        node, spare = world.node(name="guarded"), world.node(name="spare")
        node.report = report(watchdog_up=True)
        node.sync()
        with world.farm.database.write_as_system() as session:
            session.get_one(Node, spare.node_id).availability = Availability.CORDONED
        _, wanted = self_fencing(world, world.trader(), node)
        world.let_pass(330, spare)
        world.clock.advance(seconds=120)  # nobody listened, and the fence has come due meanwhile
        world.let_pass(240, spare)
        assert world.operator().call("GET", f"/nodes/{node.node_id}")["state"] == "lost"
        assert places(world, wanted) == [(1, "suspect", "")]
        world.let_pass(120, spare)
        assert places(world, wanted)[0] == (1, "released", "self_fenced")
        world.farm.stop()

    def test_what_nobody_wants_any_more_is_given_up_and_started_nowhere(
        self, world: World, trader: Trader, guarded: NodePlayer, spare: NodePlayer
    ) -> None:
        account, wanted = self_fencing(world, trader, guarded)
        trader.call("DELETE", f"/accounts/{account}", 202)
        world.let_pass(400, spare)
        assert places(world, wanted) == [(1, "released", "self_fenced")]


class TestReturn:
    @pytest.fixture
    def moved(self, world: World, trader: Trader, guarded: NodePlayer, spare: NodePlayer) -> DesiredTerminal:
        _, wanted = self_fencing(world, trader, guarded)
        world.let_pass(390, spare)
        spare.obey()
        return wanted

    def test_the_old_node_is_told_to_stop_it(self, moved: DesiredTerminal, world: World, guarded: NodePlayer) -> None:
        guarded.make_ready(moved)
        assert guarded.desired == []
        assert places(world, moved) == [(1, "released", "self_fenced"), (2, "active", "")]

    def test_nothing_that_it_says_of_the_old_epoch_is_believed(
        self, moved: DesiredTerminal, trader: Trader, guarded: NodePlayer
    ) -> None:
        guarded.sync(observed(moved, phase=Phase.CRASH_LOOP))
        guarded.sync(observed(moved, epoch=2, phase=Phase.CRASH_LOOP))
        shown = trader.call("GET", f"/accounts/{moved.account_id}")["terminal"]
        assert (shown["phase"], shown["epoch"], shown["node_name"]) == ("ready", 2, "spare")

    def test_deals_of_the_old_epoch_are_true_all_the_same(
        self, moved: DesiredTerminal, trader: Trader, guarded: NodePlayer
    ) -> None:
        ack = guarded.deliver(event(moved, "late", deal_body(9001)))
        assert ack.accepted == ["late"]
        deals = trader.call("GET", f"/accounts/{moved.account_id}/deals")["items"]
        assert [each["ticket"] for each in deals] == [9001]

    def test_of_an_epoch_that_it_never_held_nothing_is_taken(self, moved: DesiredTerminal, guarded: NodePlayer) -> None:
        ack = guarded.deliver(event(moved, "forged", deal_body(9002), epoch=2))
        assert list(ack.rejected) == ["forged"]

    def test_tickets_are_for_the_living_epoch_only(
        self, moved: DesiredTerminal, world: World, trader: Trader, spare: NodePlayer
    ) -> None:
        answer = trader.call("POST", f"/accounts/{moved.account_id}/tickets", 201, {"scope": "trade"})
        assert answer["server_name"] == spare.node_id

    def test_what_still_runs_there_takes_its_slot_until_it_is_gone(
        self, moved: DesiredTerminal, world: World, trader: Trader, guarded: NodePlayer, spare: NodePlayer
    ) -> None:
        shown = world.operator()
        guarded.make_ready(moved)
        assert shown.call("GET", f"/nodes/{guarded.node_id}")["strays"] == 1
        with world.farm.database.write_as_system() as session:
            for node_id, slots in ((guarded.node_id, 1), (spare.node_id, 1)):
                session.get_one(Node, node_id).slots = slots
        waiting = trader.connect(5002)["id"]
        world.run_loops()
        assert trader.call("GET", f"/accounts/{waiting}")["terminal"]["node_name"] is None
        guarded.sync()
        assert shown.call("GET", f"/nodes/{guarded.node_id}")["strays"] == 0
        world.run_loops()
        assert trader.call("GET", f"/accounts/{waiting}")["terminal"]["node_name"] == "guarded"


class Power:
    """A provider that knows which machines are off."""

    def __init__(self) -> None:
        self.off: set[str] = set()

    def is_off(self, node_id: str) -> bool:
        return node_id in self.off


def test_a_machine_without_power_runs_nothing(
    world: World, trader: Trader, guarded: NodePlayer, spare: NodePlayer
) -> None:
    _, wanted = world.ready_account(trader, guarded)
    power, farm = Power(), world.farm
    leases = next(loop for loop in farm.loops if loop.name == "node-leases")
    relocation = next(loop for loop in farm.loops if loop.name == "relocation")
    assert isinstance(relocation.step.__self__, Relocation)  # type: ignore[attr-defined]
    relocation.step.__self__._power = power  # type: ignore[attr-defined]
    world.let_pass(400, spare)
    assert places(world, wanted) == [(1, "suspect", "")]
    power.off.add(guarded.node_id)
    leases.step()
    world.run_loops()
    assert places(world, wanted)[0] == (1, "released", "powered_off")


class TestMassLoss:
    def fleet(self, world: World, trader: Trader, silent: int) -> tuple[list[NodePlayer], list[DesiredTerminal]]:
        nodes, terminals = [], []
        for number in range(silent):
            node = world.node(name=f"node-{number}", slots=1)
            node.report = report(watchdog_up=True)
            node.sync()
            account = trader.connect(6000 + number)["id"]
            trader.call("PUT", f"/accounts/{account}/lease-policy", 200, {"policy": "self_fence"})
            world.run_loops()
            node.fetch()
            node.obey()
            nodes.append(node)
            terminals += node.desired
        return nodes, terminals

    def test_four_of_five_silent_at_once_freeze_relocation_and_their_return_thaws_it(
        self, world: World, trader: Trader
    ) -> None:
        lost, terminals = self.fleet(world, trader, 4)
        spare = world.node(name="spare")
        world.let_pass(600, spare)
        operator = world.operator()
        assert operator.call("GET", "/nodes/breaker")["state"] == "open"
        assert [places(world, each) for each in terminals] == [[(1, "suspect", "")]] * 4
        shown = operator.call("GET", f"/nodes/{lost[0].node_id}")["terminals"]
        assert [each["stays_because"] for each in shown] == ["frozen"]
        lost[3].obey()
        world.let_pass(60, spare, lost[3])
        assert operator.call("GET", "/nodes/breaker")["state"] == "closed"
        assert [places(world, each)[0][1] for each in terminals] == ["released"] * 3 + ["active"]

    def test_falls_that_nobody_listened_to_count_with_those_before(self, world: World, trader: Trader) -> None:
        """Two are judged silent, then the control plane stands still; of the other two it learns only afterwards."""
        lost, terminals = self.fleet(world, trader, 4)
        spare = world.node(name="spare")
        world.let_pass(20, spare, *lost[2:])
        world.let_pass(30, spare)
        states = {each["name"]: each["state"] for each in world.operator().call("GET", "/nodes")["items"]}
        assert [states[f"node-{number}"] for number in range(4)] == ["silent", "silent", "online", "online"]
        world.clock.advance(seconds=200)
        world.let_pass(600, spare)
        assert [places(world, each) for each in terminals] == [[(1, "suspect", "")]] * 4

    def test_an_operator_who_knows_that_they_are_gone_lifts_it(self, world: World, trader: Trader) -> None:
        _, terminals = self.fleet(world, trader, 4)
        spare = world.node(name="spare")
        world.let_pass(600, spare)
        operator = world.operator()
        problem = operator.call("POST", "/nodes/breaker/lift", 422, {"reason": ""})
        assert problem["code"] == "invalid_input"
        answer = operator.call("POST", "/nodes/breaker/lift", 200, {"reason": "the data centre burnt down"})
        assert (answer["state"], answer["lifted_by"]) == ("closed", "ops@example.com")
        assert operator.call("POST", "/nodes/breaker/lift", 409, {"reason": "again"})["code"] == "breaker_closed"
        world.let_pass(30, spare)
        assert [places(world, each)[0] for each in terminals] == [(1, "released", "self_fenced")] * 4

    @pytest.mark.parametrize("deed", ["confirm-dead", "revoke"])
    def test_nodes_that_are_given_up_count_no_more(self, world: World, trader: Trader, deed: str) -> None:
        lost, terminals = self.fleet(world, trader, 4)
        spare = world.node(name="spare")
        world.let_pass(400, spare)
        world.operator().call("POST", f"/nodes/{lost[0].node_id}/{deed}", 200, {"reason": "its machine was sold"})
        world.let_pass(30, spare)
        assert [places(world, each)[0][1] for each in terminals[1:]] == ["released"] * 3

    def test_three_may_be_lost_at_once(self, world: World, trader: Trader) -> None:
        _, terminals = self.fleet(world, trader, 3)
        spare = world.node(name="spare")
        world.let_pass(330, spare)
        assert [places(world, each)[0][1] for each in terminals] == ["released"] * 3
