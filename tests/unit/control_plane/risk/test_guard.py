"""Limits on their way to the node and its answers on their way back; kill switches until nothing is open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from control_plane.entitlements import service as entitlements_service
from control_plane.entitlements.decision import Entitlements
from control_plane.identity.state import Role
from node_agent.protocol.messages import DesiredTerminal, GuardLoss, GuardTrip, ObservedGuard, Phase
from tests.unit.control_plane.world import NodePlayer, Trader, World, observed, snapshot

pytestmark = pytest.mark.both_databases
DAILY = {"daily_loss": {"unit": "percent", "value": "5"}, "on_breach": "close_all"}
TRIP = GuardTrip(switch="daily_loss", at=1_700_000_000.0, figure=512.5, limit=500.0)


@pytest.fixture
def account(world: World, trader: Trader, node: NodePlayer) -> str:
    return world.ready_account(trader, node)[0]


def wanted(node: NodePlayer, account: str) -> DesiredTerminal:
    return next(each for each in node.fetch().terminals if each.account_id == account)


def guard_seen(desired: DesiredTerminal, **changes: Any) -> ObservedGuard:
    facts: dict[str, Any] = {"at": 1.0, "positions": 0, "orders": 0, "kill_id": desired.guard.kill_id}
    return ObservedGuard(**{**facts, **changes})


def tell(node: NodePlayer, desired: DesiredTerminal, **changes: Any) -> None:
    """The node knows the newest snapshot and reports its guard."""
    account = snapshot(desired.login)
    node.sync()
    node.sync(observed(desired, account=account, guard=guard_seen(desired, **changes)))


def guard(trader: Trader, account: str) -> dict[str, Any]:
    found: dict[str, Any] = trader.call("GET", f"/accounts/{account}/guard")
    return found


def set_limits(trader: Trader, account: str, limits: dict[str, Any], status: int = 200) -> Any:
    return trader.call("PUT", f"/accounts/{account}/guard", status, {"limits": limits})


def target(trader: Trader, kill_id: str) -> dict[str, Any]:
    found: dict[str, Any] = trader.call("GET", f"/kill-switches/{kill_id}")["targets"][0]
    return found


class TestLimits:
    def test_reach_the_node_and_count_as_enforced_once_it_has_said_so(
        self, trader: Trader, node: NodePlayer, account: str
    ) -> None:
        assert guard(trader, account)["state"] == "off"
        set_limits(trader, account, DAILY)
        assert guard(trader, account)["state"] == "pending"
        desired = wanted(node, account)
        assert desired.guard.daily_loss is not None
        assert (desired.guard.daily_loss.value, desired.guard.daily_loss.percent) == (5.0, True)
        assert desired.guard.utc_offsets
        tell(node, desired, losses=[GuardLoss(switch="daily_loss", figure=125.0, limit=500.0)])
        seen = guard(trader, account)
        assert seen["state"] == "watching"
        assert seen["used"] == [{"switch": "daily_loss", "lost": "125.00", "limit": "500.00", "share": 0.25}]

    def test_looser_ones_need_a_fresh_proof_and_stricter_ones_do_not(
        self, world: World, trader: Trader, account: str
    ) -> None:
        set_limits(trader, account, DAILY)
        world.clock.advance(hours=1)
        set_limits(trader, account, {**DAILY, "max_positions": 3})
        assert set_limits(trader, account, {"max_positions": 3}, 403)["code"] == "step_up_required"

    def test_of_the_tenant_hold_for_all_and_may_only_be_tightened(
        self, world: World, trader: Trader, node: NodePlayer, account: str
    ) -> None:
        owner = world.operator(Role.OWNER, "owner@example.com")
        owner.call("PUT", "/limit-defaults", 200, {"limits": {"max_volume": "1", "max_positions": 5}})
        assert wanted(node, account).guard.max_volume == 1.0
        assert set_limits(trader, account, {"max_volume": "2"}, 422)["code"] == "looser_than_defaults"
        set_limits(trader, account, {"max_volume": "0.5"})
        told = wanted(node, account).guard
        assert (told.max_volume, told.max_positions) == (0.5, 5)

    def test_are_changed_only_as_they_were_seen(self, trader: Trader, account: str) -> None:
        path = f"/api/v1/accounts/{account}/guard"
        tag = trader.http.get(path).headers["ETag"]
        body = {"limits": {"max_positions": 3}}
        assert trader.http.put(path, json=body, headers={"If-Match": tag}).status_code == 200
        assert trader.http.put(path, json=body, headers={"If-Match": tag}).status_code == 412

    def test_what_has_tripped_is_shown_holds_the_terminal_once_flat_and_is_re_armed_by_its_owner(
        self, world: World, trader: Trader, node: NodePlayer, account: str
    ) -> None:
        set_limits(trader, account, DAILY)
        tell(node, wanted(node, account), trips=[TRIP], positions=1)
        assert guard(trader, account)["state"] == "tripped"
        assert trader.call("GET", f"/accounts/{account}")["terminal"]["hold"] == "none"
        tell(node, wanted(node, account), trips=[TRIP], flat=True)
        assert trader.call("GET", f"/accounts/{account}")["terminal"]["hold"] == "risk"
        world.clock.advance(hours=1)
        assert trader.call("POST", f"/accounts/{account}/guard/re-arm", 403)["code"] == "step_up_required"
        trader.call("POST", "/auth/step-up", 204, {"password": "correct horse battery"})
        trader.call("POST", f"/accounts/{account}/guard/re-arm", 202)
        assert trader.call("GET", f"/accounts/{account}")["terminal"]["hold"] == "none"
        desired = wanted(node, account)
        assert desired.guard.rearm_id
        assert desired.guard_memory is not None
        assert desired.guard_memory.trips == [TRIP]

    def test_of_the_plan_reach_the_node_whatever_people_set(
        self, trader: Trader, node: NodePlayer, account: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = Entitlements(pairs=frozenset({"EURUSD", "GBPUSD"}), max_symbols=1)
        monkeypatch.setattr(entitlements_service, "held_by", lambda _session, tenants: dict.fromkeys(tenants, held))
        set_limits(trader, account, {"symbols": ["EURUSD", "USDJPY"], "max_symbols": 3})
        told = wanted(node, account).guard
        assert (told.symbols, told.max_symbols) == (["EURUSD"], 1)
        set_limits(trader, account, {})
        assert wanted(node, account).guard.symbols == ["EURUSD", "GBPUSD"]
        assert guard(trader, account)["in_force"]["symbols"] == ["EURUSD", "GBPUSD"]


class TestReports:
    @pytest.fixture
    def writes(self, world: World) -> Iterator[list[str]]:
        """Statements that write down what guards say."""
        found: list[str] = []

        def listen(*details: Any) -> None:
            statement = str(details[2])
            if statement.startswith("INSERT INTO guard_observations"):
                found.append(statement)

        event.listen(world.farm.database.engine, "before_cursor_execute", listen)
        yield found
        event.remove(world.farm.database.engine, "before_cursor_execute", listen)

    def test_that_say_the_same_again_write_nothing(
        self, world: World, trader: Trader, node: NodePlayer, account: str, writes: list[str]
    ) -> None:
        set_limits(trader, account, DAILY)
        desired = wanted(node, account)
        tell(node, desired, at=1.0)
        assert len(writes) == 1
        world.clock.advance(seconds=10)
        tell(node, desired, at=11.0)
        assert len(writes) == 1, "the time of the look alone is no news"
        tell(node, desired, at=12.0, equity=9_990.0)
        assert len(writes) == 2

    def test_that_say_the_same_for_long_stay_fresh_and_silence_does_not(
        self, world: World, trader: Trader, node: NodePlayer, account: str, writes: list[str]
    ) -> None:
        set_limits(trader, account, DAILY)
        desired = wanted(node, account)
        for seconds in range(0, 120, 10):
            world.clock.advance(seconds=10)
            tell(node, desired, at=float(seconds))
            assert guard(trader, account)["state"] == "watching"
        assert len(writes) == 6
        world.clock.advance(seconds=46)
        assert guard(trader, account)["state"] == "pending"


class TestKillSwitch:
    def test_is_done_only_when_the_terminal_says_that_nothing_is_open_and_then_stops_it(
        self, world: World, trader: Trader, node: NodePlayer, account: str
    ) -> None:
        kill = trader.call("POST", f"/accounts/{account}/kill", 202, {"mode": "close_all"})
        again = trader.call("POST", f"/accounts/{account}/kill", 202, {"mode": "close_all"})
        assert kill["id"] == again["id"], "thrown twice is thrown once"
        world.run_loops()
        desired = wanted(node, account)
        assert desired.guard.kill == "close_all"
        assert not desired.guard.trading
        assert target(trader, kill["id"])["state"] == "waiting"
        tell(node, desired, positions=2, closing_problem="Market closed")
        world.run_loops()
        shown = target(trader, kill["id"])
        assert (shown["state"], shown["positions"]) == ("closing", 2)
        assert "Market closed" in shown["note"]
        tell(node, desired, flat=True)
        world.run_loops()
        assert target(trader, kill["id"])["state"] == "done"
        assert trader.call("GET", f"/kill-switches/{kill['id']}")["finished"]
        assert not wanted(node, account).running

    def test_a_report_of_another_switch_or_of_none_proves_nothing(
        self, world: World, trader: Trader, node: NodePlayer, account: str
    ) -> None:
        kill = trader.call("POST", f"/accounts/{account}/kill", 202, {"mode": "close_all"})["id"]
        world.run_loops()
        tell(node, wanted(node, account), flat=True, kill_id="another")
        world.run_loops()
        assert target(trader, kill)["state"] == "waiting"

    def test_silence_is_unreachable_and_never_flat_and_what_comes_back_is_closed(
        self, world: World, trader: Trader, node: NodePlayer, account: str
    ) -> None:
        kill = trader.call("POST", f"/accounts/{account}/kill", 202, {"mode": "close_all"})["id"]
        world.run_loops()
        world.clock.advance(seconds=60)
        world.run_loops()
        assert target(trader, kill)["state"] == "unreachable"
        assert target(trader, kill)["positions"] is None
        tell(node, wanted(node, account), flat=True)
        world.run_loops()
        assert target(trader, kill)["state"] == "done"

    def test_a_stopped_terminal_is_named_as_such(self, world: World, trader: Trader, account: str) -> None:
        trader.call("POST", f"/accounts/{account}/undeploy", 202)
        kill = trader.call("POST", f"/accounts/{account}/kill", 202, {"mode": "close_all"})["id"]
        world.run_loops()
        assert target(trader, kill)["state"] == "not_running"

    def test_goes_on_after_a_control_plane_that_died_between_the_throw_and_the_job(
        self, world: World, trader: Trader, node: NodePlayer, account: str
    ) -> None:
        kill = trader.call("POST", "/kill-switches", 202, {"mode": "no_new_orders"})["id"]
        assert wanted(node, account).guard.kill == "no_new_orders", "a snapshot needs no job to know of it"
        world.farm.kill_switches.spread(kill)
        world.farm.kill_switches.spread(kill)
        assert len(trader.call("GET", f"/kill-switches/{kill}")["targets"]) == 1

    def test_released_by_its_thrower_with_a_proof_and_not_while_another_one_holds(
        self, world: World, trader: Trader, node: NodePlayer, account: str
    ) -> None:
        staff = world.operator(Role.OWNER, "owner@example.com")
        mine = trader.call("POST", f"/accounts/{account}/kill", 202, {"mode": "no_new_orders"})["id"]
        why = {"mode": "close_all", "reason": "rogue bot"}
        theirs = staff.call("POST", f"/members/{trader.user['id']}/kill", 202, why)["id"]
        world.run_loops()
        assert wanted(node, account).guard.kill == "close_all"
        assert trader.call("POST", f"/kill-switches/{theirs}/release", 403)["code"] == "role_required"
        trader.call("POST", f"/kill-switches/{mine}/release", 202)
        assert wanted(node, account).guard.kill == "close_all"
        staff.call("POST", f"/kill-switches/{theirs}/release", 202)
        assert wanted(node, account).guard.kill == "none"
        assert guard(trader, account)["kills"] == []

    def test_of_the_fleet_reaches_every_tenant_s_accounts_and_those_that_come_later(
        self, world: World, trader: Trader, node: NodePlayer, account: str
    ) -> None:
        owner = world.operator(Role.OWNER, "owner@example.com")
        kill = owner.call("POST", "/kill-switches/fleet", 202, {"mode": "no_new_orders", "reason": "storm"})["id"]
        world.run_loops()
        assert [each["account_id"] for each in owner.call("GET", f"/kill-switches/{kill}")["targets"]] == [account]
        later, _ = world.ready_account(trader, node, 5002)
        assert wanted(node, later).guard.kill == "no_new_orders"
        assert guard(trader, later)["state"] == "killed"
        trader.call("GET", f"/kill-switches/{kill}", 404)

    def test_of_the_fleet_is_followed_and_released_by_those_who_run_it_and_by_nobody_else(
        self, world: World, trader: Trader, account: str
    ) -> None:
        ops = world.operator(Role.OPS, "ops@example.com")
        admin = world.operator(Role.BROKER_ADMIN, "admin@example.com")
        trader.call("POST", "/kill-switches", 202, {"mode": "no_new_orders"})
        kill = ops.call("POST", "/kill-switches/fleet", 202, {"mode": "no_new_orders", "reason": "storm"})["id"]
        world.run_loops()
        assert [each["id"] for each in ops.call("GET", "/kill-switches")["items"]] == [kill]
        assert ops.call("GET", f"/kill-switches/{kill}")["targets"] != []
        assert admin.call("POST", f"/kill-switches/{kill}/release", 403)["code"] == "role_required"
        ops.call("POST", f"/kill-switches/{kill}/release", 202)


def test_a_node_that_knows_no_guard_shows_limits_as_not_enforced(
    world: World, trader: Trader, node: NodePlayer, account: str
) -> None:
    set_limits(trader, account, DAILY)
    desired = wanted(node, account)
    node.sync(observed(desired, phase=Phase.READY, account=snapshot()))
    world.run_loops()
    assert guard(trader, account)["state"] == "pending"
