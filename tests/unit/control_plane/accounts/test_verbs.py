"""Restart, move, hold and lift."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import ConflictError
from control_plane.terminals.state import Hold, Intent, Standing, Verb, change_hold, check_verb, should_run
from node_agent.protocol.messages import Phase
from tests.unit.control_plane.world import NodePlayer, Trader, World, observed

pytestmark = pytest.mark.both_databases
WHY = {"reason": "for a test"}


@given(st.sampled_from(Verb), st.sampled_from(Intent), st.sampled_from(Hold), st.booleans(), st.booleans())
def test_a_verb_is_refused_exactly_where_it_could_do_nothing(
    verb: Verb, intent: Intent, hold: Hold, placed: bool, leaving: bool
) -> None:
    runs = should_run(intent, hold) and placed
    if verb in {Verb.RESTART, Verb.MOVE}:
        possible = runs and not (verb is Verb.RESTART and leaving)
    else:
        possible = intent is not Intent.DELETED or verb is Verb.DELETE
    try:
        check_verb(verb, Standing(intent, hold, placed, leaving))
    except ConflictError:
        assert not possible
    else:
        assert possible


@given(st.lists(st.sampled_from(Hold), max_size=8))
def test_a_weaker_hold_never_replaces_a_stronger_one(wishes: list[Hold]) -> None:
    strength = [Hold.NONE, Hold.UNPAID, Hold.RISK, Hold.ADMIN]
    hold = Hold.NONE
    for wanted in wishes:
        try:
            after = change_hold(hold, wanted)
        except ConflictError:
            assert Hold.NONE is not wanted
            assert strength.index(wanted) < strength.index(hold)
        else:
            assert after is wanted
            hold = after


class TestRestart:
    def test_the_node_is_asked_once(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        for _ in range(2):
            trader.call("POST", f"/accounts/{account}/restart", 202)
        asked = node.fetch().terminals[0].requests
        assert [each.kind for each in asked] == ["restart"]
        node.sync(observed(wanted, finished_requests=[asked[0].request_id]))
        assert node.fetch().terminals[0].requests == []
        kinds = [each["kind"] for each in trader.call("GET", f"/accounts/{account}/transitions?kind=request")["items"]]
        assert kinds == ["request"]

    def test_what_does_not_run_is_not_restarted(self, world: World, trader: Trader, node: NodePlayer) -> None:
        waiting = trader.connect()["id"]
        assert trader.call("POST", f"/accounts/{waiting}/restart", 409)["code"] == "not_placed"
        trader.call("POST", f"/accounts/{waiting}/undeploy", 202)
        assert trader.call("POST", f"/accounts/{waiting}/restart", 409)["code"] == "not_running"


class TestMove:
    def test_a_flat_terminal_goes_elsewhere_and_says_why(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        node.sync(observed(wanted, flat=True))
        spare = world.node(name="spare")
        shown = trader.call("POST", f"/accounts/{account}/move", 202, {})["terminal"]
        assert (shown["short"], shown["explanation"]) == (
            "Moving to another node",
            "Moving to another node, as you asked.",
        )
        node.fetch()
        node.obey()
        world.run_loops()
        assert [each.epoch for each in spare.fetch().terminals] == [2]
        places = trader.call("GET", f"/accounts/{account}/transitions?kind=place")["items"]
        assert [(each["after"], each["node_name"], each["actor"]) for each in places][:3] == [
            ("reserved", "spare", "farm"),
            ("released", "node-1", "farm"),
            ("revoked", "node-1", "user"),
        ]
        assert places[0]["note"].startswith("Placed on spare")

    def test_one_with_positions_needs_force_and_a_fresh_proof(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        node.sync(observed(wanted, flat=False))
        world.node(name="spare")
        assert trader.call("POST", f"/accounts/{account}/move", 409, {})["code"] == "not_flat"
        world.clock.advance(hours=1)
        forced = {"with_positions": True}
        assert trader.call("POST", f"/accounts/{account}/move", 403, forced)["code"] == "step_up_required"
        trader.call("POST", "/auth/step-up", 204, {"password": "correct horse battery"})
        node.sync(observed(wanted, flat=False))
        trader.call("POST", f"/accounts/{account}/move", 202, forced)

    def test_without_another_node_it_stays(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        node.sync(observed(wanted, flat=True))
        assert trader.call("POST", f"/accounts/{account}/move", 409, {})["code"] == "no_room"
        assert trader.call("GET", f"/accounts/{account}")["terminal"]["phase"] == "ready"

    def test_an_operator_chooses_the_node(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        node.sync(observed(wanted, flat=True))
        world.node(name="roomy", slots=50)
        chosen = world.node(name="chosen", slots=1)
        operator = world.operator()
        path = f"/nodes/{node.node_id}/terminals/{wanted.terminal_id}/move"
        same = operator.call("POST", path, 422, {**WHY, "to_node_id": node.node_id})
        assert same["code"] == "already_there"
        assert operator.call("POST", path, 409, {**WHY, "to_node_id": "nod_x"})["code"] == "no_room"
        operator.call("POST", path, 202, {**WHY, "to_node_id": chosen.node_id})
        node.fetch()
        node.obey()
        world.run_loops()
        assert trader.call("GET", f"/accounts/{account}")["terminal"]["node_name"] == "chosen"


class TestHold:
    def test_a_held_terminal_stops_and_starts_again_when_lifted(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        operator = world.operator()
        path = f"/terminals/{wanted.terminal_id}"
        operator.call("POST", f"{path}/hold", 204, WHY)
        assert [each.running for each in node.fetch().terminals] == [False]
        shown = trader.call("GET", f"/accounts/{account}")["terminal"]
        assert (shown["hold"], shown["short"]) == ("admin", "Held back")
        assert trader.call("POST", f"/accounts/{account}/restart", 409)["code"] == "held"
        node.sync(observed(wanted, phase=Phase.STOPPED))
        operator.call("POST", f"{path}/lift", 204, WHY)
        assert operator.call("POST", f"{path}/lift", 409, WHY)["code"] == "not_held"
        world.run_loops()
        assert [each.running for each in node.fetch().terminals] == [True]
        holds = trader.call("GET", f"/accounts/{account}/transitions?kind=hold")["items"]
        assert [(each["actor"], each["before"], each["after"]) for each in holds] == [
            ("operator", "admin", "none"),
            ("operator", "none", "admin"),
        ]

    def test_a_trader_holds_nothing(self, world: World, trader: Trader, node: NodePlayer) -> None:
        _, wanted = world.ready_account(trader, node)
        assert trader.call("POST", f"/terminals/{wanted.terminal_id}/hold", 403, WHY)["code"] == "role_required"

    def test_one_that_is_not_there_is_said_so(self, world: World) -> None:
        assert world.operator().call("POST", "/terminals/ter_x/hold", 404, WHY)["code"] == "terminal_not_found"
