"""Snapshots down, observations up."""

from __future__ import annotations

import httpx
import pytest
from anyio import fail_after, run, to_thread
from structlog.testing import capture_logs

from control_plane.app import create_agent_app
from control_plane.assignments.model import Assignment
from control_plane.vault.model import SealedCredentials
from node_agent.protocol.messages import SYNC_PATH, ObservedTerminal, Phase, Reason
from node_agent.protocol.sealing import SealContext, SealError, unseal
from tests.unit.control_plane.world import NodePlayer, Trader, World, observed, snapshot

pytestmark = pytest.mark.both_databases


def terminal_of(trader: Trader, account: str) -> dict[str, object]:
    shown: dict[str, object] = trader.call("GET", f"/accounts/{account}")["terminal"]
    return shown


class TestGeneration:
    def test_a_known_one_is_not_sent_again(self, node: NodePlayer) -> None:
        assert node.sync().desired is not None
        assert node.sync().desired is None

    def test_rises_with_everything_that_changes_what_the_node_should_run(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, _ = world.ready_account(trader, node)
        bot = trader.call(
            "POST",
            "/bots",
            201,
            {
                "account_id": account,
                "name": "b",
                "strategy": "moving_average_cross",
                "symbol": "EURUSD",
                "timeframe": "M1",
                "volume": 0.1,
            },
        )
        steps = [
            ("PUT", f"/accounts/{account}/credentials", 202, {"password": "new"}),
            ("POST", f"/bots/{bot['id']}/start", 202, None),
            ("POST", f"/bots/{bot['id']}/stop", 202, None),
            ("POST", f"/accounts/{account}/undeploy", 202, None),
        ]
        for method, path, status, body in steps:
            before = node.sync().generation
            trader.call(method, path, status, body)
            answer = node.sync()
            assert answer.generation > before, path
            assert answer.desired is not None

    def test_stays_the_same_when_nothing_changed(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        before = node.sync().generation
        trader.call("POST", f"/accounts/{account}/deploy", 202)
        node.make_ready(wanted)
        world.run_loops()
        assert node.sync().generation == before


class TestCredentials:
    def test_open_only_with_the_nodes_key_and_for_this_assignment(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        context = SealContext(trader.user["tenant_id"], account, wanted.terminal_id, wanted.epoch)
        opened = unseal(wanted.credentials, node.sealing, context)
        assert (opened.login, opened.password) == (5001, "broker-secret")
        moved = SealContext(trader.user["tenant_id"], account, wanted.terminal_id, wanted.epoch + 1)
        with pytest.raises(SealError):
            unseal(wanted.credentials, node.sealing, moved)
        with pytest.raises(SealError):
            unseal(wanted.credentials, world.node().sealing, context)

    def test_a_corrected_password_has_a_higher_version(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        trader.call("PUT", f"/accounts/{account}/credentials", 202, {"password": "right one"})
        node.sync()
        assert node.desired[0].credentials_version == wanted.credentials_version + 1


class TestPlacementAndRelease:
    def test_a_new_account_runs_at_once(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account = trader.connect()
        world.run_loops()
        wanted = node.fetch().terminals[0]
        assert (wanted.running, wanted.epoch, wanted.runtime) == (True, 1, "simulated")
        assert wanted.server_address == "127.0.0.1:8083"
        assert terminal_of(trader, account["id"])["node_name"] == "node-1"

    def test_a_full_node_takes_no_more(self, world: World, trader: Trader) -> None:
        node = world.node(slots=1)
        trader.connect(5001)
        second = trader.connect(5002)
        world.run_loops()
        assert len(node.fetch().terminals) == 1
        assert terminal_of(trader, second["id"])["explanation"] == "Waiting for capacity: all nodes are full."

    def test_one_waiting_terminal_gets_the_slot_that_becomes_free(self, world: World, trader: Trader) -> None:
        node = world.node(slots=1)
        first, _ = world.ready_account(trader, node, 5001)
        second = trader.connect(5002)
        trader.call("DELETE", f"/accounts/{first}", 202)
        node.sync()
        node.sync()
        world.run_loops()
        assert [each.account_id for each in node.fetch().terminals] == [second["id"]]

    def test_an_undeployed_terminal_keeps_its_place_until_it_is_proven_to_be_gone(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        trader.call("POST", f"/accounts/{account}/undeploy", 202)
        node.make_ready(wanted)
        assert [each.running for each in node.desired] == [False]
        node.sync(observed(wanted, phase=Phase.STOPPING))
        assert terminal_of(trader, account)["node_name"] == "node-1"
        node.sync(observed(wanted, phase=Phase.STOPPED))
        shown = terminal_of(trader, account)
        assert (shown["phase"], shown["node_name"]) == ("stopped", None)
        assert node.fetch().terminals == []

    def test_a_terminal_that_still_runs_under_another_epoch_is_not_gone(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        trader.call("POST", f"/accounts/{account}/undeploy", 202)
        stray = observed(wanted, epoch=wanted.epoch - 1)
        node.sync(stray)
        node.sync(stray)
        assert terminal_of(trader, account)["node_name"] == "node-1"
        node.sync()
        assert terminal_of(trader, account)["node_name"] is None

    def test_silence_about_a_terminal_proves_nothing_until_the_node_knows_that_it_should_stop(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, _ = world.ready_account(trader, node)
        trader.call("POST", f"/accounts/{account}/undeploy", 202)
        node.sync()
        assert terminal_of(trader, account)["node_name"] == "node-1"
        node.sync()
        assert terminal_of(trader, account)["node_name"] is None

    def test_each_deployment_has_a_higher_epoch(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        trader.call("POST", f"/accounts/{account}/undeploy", 202)
        node.sync(observed(wanted, phase=Phase.STOPPED))
        node.sync(observed(wanted, phase=Phase.STOPPED))
        trader.call("POST", f"/accounts/{account}/deploy", 202)
        world.run_loops()
        assert node.fetch().terminals[0].epoch == wanted.epoch + 1

    def test_the_password_of_a_removed_account_is_erased_once_the_terminal_is_gone(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, _ = world.ready_account(trader, node)
        trader.call("DELETE", f"/accounts/{account}", 202)
        trader.call("GET", f"/accounts/{account}", 404)
        node.sync()
        node.sync()
        with world.farm.database.read_as_system() as session:
            assert session.query(SealedCredentials).count() == 0
            assert [each.state for each in session.query(Assignment)] == ["released"]

    def test_the_same_login_waits_until_it_is_gone_from_elsewhere(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        trader.call("DELETE", f"/accounts/{account}", 202)
        again = trader.connect(5001)
        world.run_loops()
        assert "still runs" in str(terminal_of(trader, again["id"])["explanation"])
        node.sync(observed(wanted, phase=Phase.STOPPED))
        node.sync(observed(wanted, phase=Phase.STOPPED))
        world.run_loops()
        assert terminal_of(trader, again["id"])["node_name"] == "node-1"

    def test_two_users_never_get_two_terminals_of_one_login(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        first = trader.connect(5001)
        second = world.trader("other@example.com").connect(5001)
        world.run_loops()
        assert [each.account_id for each in node.fetch().terminals] == [first["id"]]
        wanted = node.desired[0]
        node.sync(observed(wanted, phase=Phase.FAILED, reason=Reason.BAD_CREDENTIALS, last_answer_at=None))
        world.run_loops()
        assert {each.account_id for each in node.fetch().terminals} == {first["id"], second["id"]}

    def test_a_corrected_password_does_not_join_a_login_that_runs_elsewhere(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        stranger = world.trader("other@example.com")
        guess = stranger.connect(5001)
        world.run_loops()
        refused = observed(
            node.fetch().terminals[0], phase=Phase.FAILED, reason=Reason.BAD_CREDENTIALS, last_answer_at=None
        )
        node.sync(refused)
        owned = trader.connect(5001)
        world.run_loops()
        wanted = next(each for each in node.fetch().terminals if each.account_id == owned["id"])
        node.sync(refused, observed(wanted))
        problem = stranger.call("PUT", f"/accounts/{guess['id']}/credentials", 409, {"password": "right"})
        assert problem["code"] == "account_runs_elsewhere"
        trader.call("PUT", f"/accounts/{owned['id']}/credentials", 202, {"password": "new"})

    def test_of_two_that_were_refused_only_one_may_correct_its_password(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        def refused() -> list[ObservedTerminal]:
            return [
                observed(each, phase=Phase.FAILED, reason=Reason.BAD_CREDENTIALS, last_answer_at=None)
                for each in node.desired
            ]

        first = trader.connect(5001)
        world.run_loops()
        node.fetch()
        node.sync(*refused())
        stranger = world.trader("other@example.com")
        second = stranger.connect(5001)
        world.run_loops()
        node.fetch()
        node.sync(*refused())
        trader.call("PUT", f"/accounts/{first['id']}/credentials", 202, {"password": "right"})
        change = f"/accounts/{second['id']}/credentials", 409, {"password": "right"}
        assert stranger.call("PUT", *change)["code"] == "account_runs_elsewhere"
        # What a node says that has not heard of the new password yet is about the old one.
        node.sync(*refused())
        assert stranger.call("PUT", *change)["code"] == "account_runs_elsewhere"


class TestObservations:
    def test_the_reason_is_told_in_a_traders_words(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        node.sync(observed(wanted, phase=Phase.FAILED, reason=Reason.BAD_CREDENTIALS))
        shown = terminal_of(trader, account)
        assert (shown["phase"], shown["reason"]) == ("failed", "bad_credentials")
        assert "password" in str(shown["explanation"])

    def test_of_an_older_epoch_are_not_taken(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        node.sync(observed(wanted, epoch=wanted.epoch - 1, phase=Phase.FAILED))
        assert terminal_of(trader, account)["phase"] == "ready"

    def test_of_another_node_are_not_taken(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        world.node().sync(observed(wanted, phase=Phase.FAILED))
        assert terminal_of(trader, account)["phase"] == "ready"

    def test_a_snapshot_of_another_login_is_not_shown_as_this_accounts(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        node.make_ready(wanted, account=snapshot(login=9999, equity=1.0))
        assert trader.call("GET", f"/accounts/{account}")["snapshot"]["equity"] == "10000.00"

    def test_impossible_amounts_do_no_harm(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        node.make_ready(wanted, account=snapshot(equity=1e300))
        assert trader.call("GET", f"/accounts/{account}")["snapshot"]["equity"] == "10000.00"

    def test_a_silent_node_is_said_to_be_silent(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, wanted = world.ready_account(trader, node)
        world.let_pass(50)
        assert "node is silent" in str(terminal_of(trader, account)["explanation"])
        node.make_ready(wanted)
        assert terminal_of(trader, account)["explanation"] == "Connected and ready to trade."

    def test_a_lost_node_makes_its_assignments_suspect_but_moves_nothing(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        _, wanted = world.ready_account(trader, node)
        world.node(name="node-2")
        world.let_pass(310)
        with world.farm.database.read_as_system() as session:
            row = session.query(Assignment).one()
        assert (row.state, row.node_id) == ("suspect", node.node_id)
        node.make_ready(wanted)
        with world.farm.database.read_as_system() as session:
            assert session.query(Assignment).one().state == "active"


class TestEquity:
    def test_is_sampled_when_it_changes_and_not_more_often_than_every_minute(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        equity = 10_000.0
        for step in range(8):
            world.clock.advance(seconds=30)
            equity += 1 if step < 6 else 0
            node.make_ready(wanted, account=snapshot(equity=equity, taken_at=world.clock.now()))
        points = trader.call("GET", f"/accounts/{account}/equity")
        assert points["currency"] == "USD"
        assert [each["equity"] for each in points["items"]] == ["10000.00", "10002.00", "10004.00", "10006.00"]

    def test_a_long_curve_is_thinned_evenly_and_keeps_its_newest_point(
        self, world: World, trader: Trader, node: NodePlayer
    ) -> None:
        account, wanted = world.ready_account(trader, node)
        for step in range(1, 9):
            world.clock.advance(seconds=60)
            node.make_ready(wanted, account=snapshot(equity=10_000.0 + step, taken_at=world.clock.now()))
        points = trader.call("GET", f"/accounts/{account}/equity?limit=3")["items"]
        assert [each["equity"] for each in points] == ["10002.00", "10005.00", "10008.00"]


def test_the_return_of_a_silent_node_is_logged(world: World, node: NodePlayer) -> None:
    node.sync()
    world.let_pass(60)
    with capture_logs() as told:
        node.sync()
        node.sync()
    changes = [each for each in told if each["event"] == "node_state_changed"]
    assert [(each["node"], each["before"], each["after"]) for each in changes] == [(node.node_id, "silent", "online")]


def test_a_portal_that_holds_every_thread_keeps_no_node_waiting(world: World, node: NodePlayer) -> None:
    """As when all its threads ask terminals that do not answer."""
    body = node.sync_body([])
    headers = {"Content-Type": "application/json", "Authorization": node.sign("POST", SYNC_PATH, body)}

    async def sync() -> httpx.Response:
        threads = to_thread.current_default_thread_limiter()
        threads.total_tokens = 1
        threads.acquire_on_behalf_of_nowait("a question of the portal")
        transport = httpx.ASGITransport(create_agent_app(world.farm))
        async with httpx.AsyncClient(transport=transport, base_url="https://testserver") as http:
            with fail_after(10):
                return await http.post(SYNC_PATH, content=body, headers=headers)

    assert run(sync).status_code == 200
