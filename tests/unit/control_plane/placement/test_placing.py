"""Where terminals go in a whole control plane: what operators say over REST, and what nodes report."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.brokers.service import add_server
from tests.tenants import add_tenant, move_user
from tests.unit.control_plane.world import NodePlayer, Trader, World, report

pytestmark = pytest.mark.both_databases
WHY = {"reason": "for a test"}
GIB = 1 << 30


@pytest.fixture
def operator(world: World) -> Trader:
    return world.operator()


def placed(world: World, trader: Trader, account: dict[str, Any]) -> dict[str, Any]:
    """The account's terminal after a round of all loops."""
    world.run_loops()
    terminal: dict[str, Any] = trader.call("GET", f"/accounts/{account['id']}")["terminal"]
    return terminal


def say(operator: Trader, node: NodePlayer, **wish: Any) -> dict[str, Any]:
    shown: dict[str, Any] = operator.call("PUT", f"/nodes/{node.node_id}/placement", 200, {**WHY, **wish})
    return shown


class TestDemands:
    def test_a_terminal_waits_for_a_node_of_its_pool_region_and_labels(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer
    ) -> None:
        operator.call("PUT", "/pools/fast", 200, {**WHY, "strategy": "pack", "labels": {"disk": "ssd"}})
        account = trader.connect()
        terminal_id = account["terminal"]["id"]
        wish = {**WHY, "pool": "fast", "region": "london", "labels": {"cpu": "new"}}
        operator.call("PUT", f"/placements/{terminal_id}/demand", 200, wish)
        assert placed(world, trader, account)["explanation"] == "Waiting for a node in the pool fast."
        say(operator, node, pool="fast")
        assert placed(world, trader, account)["explanation"] == "Waiting for a node in the region london."
        say(operator, node, region="london")
        assert placed(world, trader, account)["explanation"] == "Waiting for a node that has cpu=new, disk=ssd."
        assert [each["terminal_id"] for each in operator.call("GET", "/placements")["items"]] == [terminal_id]
        shown = say(operator, node, labels={"cpu": "new", "disk": "ssd"})
        assert (shown["pool"], shown["region"], shown["labels"]) == ("fast", "london", {"cpu": "new", "disk": "ssd"})
        assert placed(world, trader, account)["node_name"] == "node-1"
        assert operator.call("GET", "/placements")["items"] == []

    def test_a_pool_that_packs_fills_one_node_after_the_other(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer
    ) -> None:
        spare = world.node(name="spare")
        accounts = [trader.connect(7000 + number) for number in range(4)]
        names = {placed(world, trader, each)["node_name"] for each in accounts[:2]}
        assert names == {"node-1", "spare"}
        operator.call("PUT", "/pools/default", 200, {**WHY, "strategy": "pack"})
        for each in (node, spare):
            operator.call("POST", f"/nodes/{each.node_id}/cordon", 200, WHY)
        packed = [trader.connect(8000 + number) for number in range(2)]
        for name in ("third", "fourth"):
            world.node(name=name)
        assert len({placed(world, trader, each)["node_name"] for each in packed}) == 1

    def test_a_pool_in_use_stays(self, operator: Trader, node: NodePlayer) -> None:
        operator.call("PUT", "/pools/fast", 200, WHY)
        say(operator, node, pool="fast")
        assert operator.call("POST", "/pools/fast/remove", 409, WHY)["code"] == "pool_in_use"
        say(operator, node, pool="default")
        left = operator.call("POST", "/pools/fast/remove", 200, WHY)
        assert [each["name"] for each in left] == ["default"]
        assert operator.call("POST", "/pools/fast/remove", 404, WHY)["code"] == "pool_not_found"

    @pytest.mark.parametrize(
        ("wish", "code"),
        [
            ({"pool": "nowhere"}, "unknown_pool"),
            ({"dedicated_tenant_id": "ten_nobody"}, "unknown_tenant"),
            ({"region": "Not A Word"}, "invalid_input"),
            ({"labels": {"Disk": "ssd"}}, "invalid_input"),
            ({"outgoing_address": "somewhere"}, "invalid_input"),
        ],
    )
    def test_what_makes_no_sense_is_refused_with_a_reason(
        self, operator: Trader, node: NodePlayer, wish: dict[str, Any], code: str
    ) -> None:
        answer = operator.call("PUT", f"/nodes/{node.node_id}/placement", 422, {**WHY, **wish})
        assert answer["code"] == code
        assert answer["errors"]


class TestTenants:
    @pytest.fixture
    def renter(self, world: World) -> Trader:
        person = world.trader("one@broker.example")
        move_user(world, person.user["id"], add_tenant(world, "broker"))
        return person

    def tenant_of(self, operator: Trader) -> str:
        found = operator.call("GET", "/tenant-placements")
        return next(str(each["tenant_id"]) for each in found if each["name"] == "broker")

    def test_nobody_elses_terminal_comes_to_a_dedicated_node(
        self, world: World, operator: Trader, trader: Trader, renter: Trader, node: NodePlayer
    ) -> None:
        say(operator, node, dedicated_tenant_id=self.tenant_of(operator))
        mine, theirs = trader.connect(), renter.connect(5002)
        waits = placed(world, trader, mine)["explanation"]
        assert waits == "Waiting for a node: all fitting ones are kept for others."
        assert placed(world, renter, theirs)["node_name"] == "node-1"
        world.node(name="shared")
        assert placed(world, trader, mine)["node_name"] == "shared"

    def test_a_tenant_that_wants_its_own_nodes_only_waits_for_one(
        self, world: World, operator: Trader, renter: Trader, node: NodePlayer
    ) -> None:
        tenant = self.tenant_of(operator)
        operator.call("PUT", f"/tenant-placements/{tenant}", 200, {**WHY, "only_dedicated": True})
        account = renter.connect()
        assert placed(world, renter, account)["explanation"] == "Waiting for one of your own nodes."
        say(operator, node, dedicated_tenant_id=tenant)
        assert placed(world, renter, account)["node_name"] == "node-1"

    def test_a_node_with_others_terminals_is_not_dedicated(
        self, world: World, operator: Trader, trader: Trader, renter: Trader, node: NodePlayer
    ) -> None:
        placed(world, trader, trader.connect())
        wish = {**WHY, "dedicated_tenant_id": self.tenant_of(operator)}
        answer = operator.call("PUT", f"/nodes/{node.node_id}/placement", 409, wish)
        assert answer["code"] == "foreign_terminals"

    def test_a_new_node_is_what_its_token_says(self, world: World, operator: Trader, renter: Trader) -> None:
        tenant = self.tenant_of(operator)
        wish = {"pool": "default", "region": "tokyo", "labels": {"disk": "ssd"}, "dedicated_tenant_id": tenant}
        node = world.node(place=wish)
        shown = operator.call("GET", f"/nodes/{node.node_id}")
        assert {name: shown[name] for name in wish} == wish


class TestMemory:
    def test_what_terminals_are_expected_to_take_is_reserved(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer
    ) -> None:
        """2 GiB less a quarter that stays free have room for three of half a GiB."""
        operator.call("PUT", "/pools/default", 200, {**WHY, "terminal_memory": GIB // 2})
        node.report = report(memory_total=2 * GIB, memory_available=2 * GIB)
        node.sync()
        accounts = [trader.connect(7000 + number) for number in range(4)]
        terminals = [placed(world, trader, each) for each in accounts]
        assert [each["node_name"] for each in terminals] == ["node-1"] * 3 + [None]
        assert terminals[3]["explanation"] == "Waiting for capacity: no node has enough memory free."
        shown = operator.call("GET", f"/nodes/{node.node_id}")
        assert (shown["memory_reserved"], shown["memory_free"]) == (3 * GIB // 2, GIB // 4)

    def test_a_node_whose_memory_others_have_taken_gets_nothing_new(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        node.report = report(memory_total=8 * GIB, memory_available=GIB // 2)
        node.sync()
        account = trader.connect()
        assert "memory" in placed(world, trader, account)["explanation"]
        node.report = report(memory_total=8 * GIB, memory_available=GIB)
        node.sync()
        assert placed(world, trader, account)["node_name"] == "node-1"

    def test_what_has_not_started_yet_is_not_seen_in_the_free_memory(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer
    ) -> None:
        operator.call("PUT", "/pools/default", 200, {**WHY, "terminal_memory": GIB})
        node.report = report(memory_total=64 * GIB, memory_available=6 * GIB)
        node.sync()
        placed(world, trader, trader.connect())
        reserved = operator.call("GET", f"/nodes/{node.node_id}")["memory_free"]
        node.fetch()
        node.obey()
        assert operator.call("GET", f"/nodes/{node.node_id}")["memory_free"] == reserved + GIB


class TestAddresses:
    def real(self, world: World) -> tuple[NodePlayer, NodePlayer]:
        with world.farm.database.write_as_system() as session:
            add_server(session, world.clock, "Real-Live", "Real Broker", None)
        first = world.node(name="first", runtimes=("wine_container",), slots=3)
        return first, world.node(name="second", runtimes=("wine_container",), slots=1)

    def connect(self, world: World, name: str, login: int) -> tuple[Trader, dict[str, Any]]:
        person = world.trader(name)
        person.enrol_second_factor()
        return person, person.connect(login, server="Real-Live")

    def test_traders_of_one_broker_get_addresses_of_their_own_as_long_as_there_are_any(
        self, world: World, operator: Trader
    ) -> None:
        first, second = self.real(world)
        say(operator, first, outgoing_address="198.51.100.1")
        say(operator, second, outgoing_address="198.51.100.2")
        for number, (name, warned) in enumerate([("first", False), ("second", False), ("first", True)]):
            person, account = self.connect(world, f"{number}@example.com", 9000 + number)
            terminal = placed(world, person, account)
            assert terminal["node_name"] == name
            assert ("Real Broker" in terminal["placement_warning"]) == warned
        shown = operator.call("GET", f"/nodes/{first.node_id}")["terminals"]
        assert sorted(bool(each["warning"]) for each in shown) == [False, True]

    def test_several_accounts_of_one_trader_may_share_one(self, world: World, operator: Trader) -> None:
        first, _ = self.real(world)
        say(operator, first, outgoing_address="198.51.100.1")
        person, account = self.connect(world, "one@example.com", 9000)
        placed(world, person, account)
        second = placed(world, person, person.connect(9001, server="Real-Live"))
        assert (second["node_name"], second["placement_warning"]) == ("first", "")


class TestExplanations:
    def test_operators_see_every_node_with_its_reason_then_and_now(
        self, world: World, operator: Trader, trader: Trader, node: NodePlayer
    ) -> None:
        spare, closed = world.node(name="spare", slots=2), world.node(name="closed")
        operator.call("POST", f"/nodes/{closed.node_id}/cordon", 200, WHY)
        account = trader.connect()
        terminal = placed(world, trader, account)
        assert terminal["placement"] == "Placed on node-1: 4 of 4 slots were free, the most of 2 fitting nodes."
        operator.call("POST", f"/nodes/{spare.node_id}/cordon", 200, WHY)
        shown = operator.call("GET", f"/placements/{terminal['id']}")
        then = {each["name"]: each["verdict"] for each in shown["then"]["nodes"]}
        now = {each["name"]: each["verdict"] for each in shown["now"]["nodes"]}
        assert then == {"node-1": "chosen", "spare": "fits", "closed": "cordoned"}
        assert now == {"node-1": "fits", "spare": "cordoned", "closed": "cordoned"}
        assert shown["memory"] > 0

    def test_a_trader_sees_one_sentence_and_no_other_node(self, world: World, trader: Trader, node: NodePlayer) -> None:
        world.node(name="spare")
        account = trader.connect()
        assert "spare" not in str(placed(world, trader, account))
        assert trader.call("GET", f"/placements/{account['terminal']['id']}", 403)["code"] == "role_required"

    def test_what_is_said_of_nodes_is_written_down(self, operator: Trader, node: NodePlayer) -> None:
        shown = say(operator, node, region="tokyo")
        assert (shown["deeds"][0]["action"], shown["deeds"][0]["reason"]) == ("set_node", "for a test")
