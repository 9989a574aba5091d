"""What callers meet: limits of key, user, tenant and address, a lane for getting out, and answers that say so."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from control_plane.app import create_agent_app, create_app
from control_plane.limits.lanes import exits
from control_plane.limits.model import TenantLimits
from control_plane.serving import _config
from node_agent.protocol.identity import sign_request
from tests.authz.matrix import Verdict, read
from tests.authz.routes import all_calls
from tests.tenants import add_tenant, move_user
from tests.unit.control_plane.world import InProcess, ManualClock, Trader, World, browser, build_world

FEW = "5/60"
BuildWorld = Callable[..., World]


@pytest.fixture
def build(tmp_path: Path, first_start: Path) -> Iterator[BuildWorld]:
    made: list[World] = []

    def build(**settings: str) -> World:
        made.append(build_world(shutil.copytree(first_start, tmp_path / "farm"), ManualClock(), **settings))
        return made[-1]

    yield build
    for each in made:
        each.farm.stop()


def spend(ask: Callable[[], httpx.Response], most: int = 50) -> httpx.Response:
    """Asks until it is refused."""
    for _ in range(most):
        answer = ask()
        if answer.status_code == 429:
            return answer
    raise AssertionError("never refused")


def with_key(world: World, trader: Trader, *scopes: str) -> httpx.Client:
    if not trader.call("GET", "/auth/second-factor")["enrolled"]:
        trader.enrol_second_factor()
    text = trader.call("POST", "/auth/api-keys", 201, {"name": "Script", "scopes": list(scopes)})["key"]
    return browser(world.farm, Authorization=f"Bearer {text}", Origin="")


class TestARefusal:
    def test_is_a_problem_that_says_when_to_come_back(self, build: BuildWorld) -> None:
        world = build(requests_of_user=FEW)
        trader = world.trader()
        refused = spend(lambda: trader.http.get("/api/v1/me"))
        body = refused.json()
        assert refused.headers["content-type"] == "application/problem+json"
        assert (body["code"], body["retryable"]) == ("rate_limited", True)
        assert "5 in 60 s" in body["detail"]
        assert refused.headers["Retry-After"] == "12"
        assert refused.headers["RateLimit-Policy"] == '"user";q=5;w=60'
        assert refused.headers["RateLimit"] == '"user";r=0;t=60'

    def test_ends_when_the_time_has_passed_that_it_named(self, build: BuildWorld) -> None:
        world = build(requests_of_user=FEW)
        trader = world.trader()
        refused = spend(lambda: trader.http.get("/api/v1/me"))
        world.clock.advance(seconds=int(refused.headers["Retry-After"]))
        assert trader.http.get("/api/v1/me").status_code == 200

    def test_is_counted_by_the_budget(self, build: BuildWorld) -> None:
        world = build(requests_of_user=FEW)
        trader = world.trader()
        spend(lambda: trader.http.get("/api/v1/me"))
        assert 'mt5farm_requests_refused_total{budget="user"} 1.0' in world.farm.metrics.exposition().decode()


def test_every_good_answer_says_what_is_left(world: World, trader: Trader) -> None:
    answer = trader.http.get("/api/v1/me")
    assert answer.headers["RateLimit-Policy"].startswith('"user";q=')
    assert answer.headers["RateLimit"].startswith('"user";r=')


class TestEachHasTheirOwn:
    def test_users(self, build: BuildWorld) -> None:
        world = build(requests_of_user=FEW)
        one, other = world.trader("one@example.com"), world.trader("other@example.com")
        spend(lambda: one.http.get("/api/v1/me"))
        assert other.http.get("/api/v1/me").status_code == 200

    def test_a_key_is_bound_before_its_user(self, build: BuildWorld) -> None:
        world = build(requests_of_key=FEW)
        trader = world.trader()
        key = with_key(world, trader, "read")
        refused = spend(lambda: key.get("/api/v1/accounts"))
        assert "this key" in refused.json()["detail"]
        assert trader.http.get("/api/v1/accounts").status_code == 200

    def test_a_tenant_as_a_whole(self, build: BuildWorld) -> None:
        world = build(requests_of_tenant="30/60")
        one, stranger = world.trader("one@example.com"), world.trader("stranger@example.com")
        move_user(world, stranger.user["id"], add_tenant(world, "broker"))
        colleague = world.trader("two@example.com")
        spend(lambda: one.http.get("/api/v1/me"))
        assert colleague.http.get("/api/v1/me").status_code == 429
        assert stranger.http.get("/api/v1/me").status_code == 200

    def test_a_tenant_may_have_other_limits_than_the_farm(self, build: BuildWorld) -> None:
        world = build(requests_of_user=FEW)
        trader = world.trader()
        with world.farm.database.write(trader.user["tenant_id"]) as session:
            session.add(TenantLimits(tenant_id=trader.user["tenant_id"], requests_of_user="40/60"))
        world.farm.limits._tenants._read_at = float("-inf")  # as half a minute later
        refused = spend(lambda: trader.http.get("/api/v1/me"))
        assert refused.headers["RateLimit-Policy"] == '"user";q=40;w=60'


class TestTheWayOut:
    def test_is_open_when_everything_else_is_used_up(self, build: BuildWorld) -> None:
        world = build(requests_of_user="20/60", requests_of_tenant="20/60")
        trader, node = world.trader(), world.node()
        account, _ = world.ready_account(trader, node)
        spend(lambda: trader.http.get("/api/v1/me"))
        assert trader.http.get(f"/api/v1/accounts/{account}").status_code == 429
        assert trader.request("POST", f"/accounts/{account}/orders", {}).status_code == 429
        assert trader.request("POST", f"/accounts/{account}/positions/7/close", key="k").status_code == 404
        assert trader.request("POST", f"/accounts/{account}/undeploy").status_code == 202
        assert trader.request("POST", f"/accounts/{account}/end-sessions").status_code == 204

    def test_of_a_person_is_not_used_up_by_their_keys(self, build: BuildWorld) -> None:
        world = build(requests_to_exit=FEW)
        trader = world.trader()
        key = with_key(world, trader, "trade")
        headers = {"Idempotency-Key": "k"}
        spend(lambda: key.post("/api/v1/accounts/acc_x/positions/7/close", headers=headers))
        assert trader.request("POST", "/accounts/acc_x/positions/7/close", key="k").status_code == 404

    def test_has_an_end_of_its_own(self, build: BuildWorld) -> None:
        world = build(requests_to_exit=FEW)
        trader = world.trader()
        refused = spend(lambda: trader.request("POST", "/accounts/acc_x/positions/7/close", key="k"))
        assert "closing and stopping" in refused.json()["detail"]
        assert trader.http.get("/api/v1/me").status_code == 200

    def test_leads_through_routes_that_there_are(self, world: World) -> None:
        real = {call.replace(" /api/v1", " ") for call in all_calls(world.farm)}
        assert exits() <= real

    def test_has_every_route_that_closes_or_stops(self, world: World) -> None:
        words = (
            "/close",
            "/cancel",
            "/kill",
            "/stop",
            "/undeploy",
            "/end-sessions",
            "/end-others",
            "/close-all",
            "/halt",
        )
        calls = {call.replace(" /api/v1", " ") for call in all_calls(world.farm)}
        leaving = {call for call in calls if call.endswith(words) and not call.startswith("GET ")}
        assert leaving <= exits(), "put it into limits/lanes.py"


class TestAddresses:
    def from_address(self, world: World, address: str, proxies: str | None = None, **headers: str) -> httpx.Client:
        """Behind the very server that `mt5farm serve` runs."""
        app = _config(create_app(world.farm), trusted_proxies=proxies).loaded_app
        sent = {"Origin": "http://testserver", **headers}
        return httpx.Client(transport=InProcess(app, address), base_url="http://testserver", headers=sent)

    def test_a_stranger_is_bound_and_others_are_not(self, build: BuildWorld) -> None:
        world = build(requests_of_address=FEW)
        spend(lambda: self.from_address(world, "203.0.113.7").get("/api/v1/farm"))
        assert self.from_address(world, "203.0.113.8").get("/api/v1/farm").status_code == 200

    def test_an_ipv6_network_is_one_customer(self, build: BuildWorld) -> None:
        world = build(requests_of_address=FEW)
        hosts = iter(range(1, 100))
        spend(lambda: self.from_address(world, f"2001:db8:1:2::{next(hosts):x}").get("/api/v1/farm"))
        assert self.from_address(world, "2001:db8:1:3::1").get("/api/v1/farm").status_code == 200

    @pytest.mark.parametrize("proof", [{}, {"Cookie": "mt5farm_session=guess"}, {"Authorization": "Bearer guess"}])
    def test_a_wrong_proof_does_not_make_anybody_known(self, build: BuildWorld, proof: dict[str, str]) -> None:
        world = build(requests_of_address=FEW)
        spend(lambda: self.from_address(world, "203.0.113.7", **proof).get("/api/v1/me"))

    def test_a_cookie_that_nobody_looks_at_does_not_make_anybody_known(self, build: BuildWorld) -> None:
        world = build(requests_of_address=FEW)
        spend(lambda: self.from_address(world, "203.0.113.7", Cookie="mt5farm_session=x").get("/api/v1/farm"))

    def test_who_is_known_is_not_bound_by_strangers_at_the_same_address(self, build: BuildWorld) -> None:
        world = build(requests_of_address="20/60")
        trader = world.trader()
        cookie = f"mt5farm_session={trader.http.cookies['mt5farm_session']}"
        spend(lambda: self.from_address(world, "203.0.113.7").get("/api/v1/farm"))
        assert self.from_address(world, "203.0.113.7", Cookie=cookie).get("/api/v1/me").status_code == 200

    def test_every_route_that_asks_nobody_who_they_are_is_bound(self, build: BuildWorld) -> None:
        world = build(requests_of_address="1/99999")
        http = browser(world.farm)
        spend(lambda: http.get("/api/v1/farm"))
        served = [line for line in read() if line.application == "portal" and line.path.startswith("/api/v1/")]
        served = [line for line in served if "openapi" not in line.path]
        for line in (each for each in served if Verdict.MAY in each.cells["nobody"]):
            assert http.request(line.method, line.path).status_code == 429, line.call

    def test_a_trusted_proxy_is_believed_about_the_address(self, build: BuildWorld) -> None:
        world = build(requests_of_address=FEW)

        def at(address: str) -> httpx.Response:
            forwarded = {"X-Forwarded-For": address}
            return self.from_address(world, "10.0.0.1", "10.0.0.1", **forwarded).get("/api/v1/farm")

        spend(lambda: at("203.0.113.7"))
        assert at("203.0.113.8").status_code == 200

    def test_what_stands_before_the_trusted_proxies_word_is_not_believed(self, build: BuildWorld) -> None:
        """A client may send the header itself; the proxy appends the address that it has really seen."""
        world, made_up = build(requests_of_address=FEW), iter(range(1, 100))

        def ask() -> httpx.Response:
            forwarded = {"X-Forwarded-For": f"198.51.100.{next(made_up)}, 203.0.113.7"}
            return self.from_address(world, "10.0.0.1", "10.0.0.1", **forwarded).get("/api/v1/farm")

        spend(ask)

    @pytest.mark.parametrize("proxies", [None, "10.0.0.1"])
    def test_others_are_not_believed(self, build: BuildWorld, proxies: str | None) -> None:
        world, made_up = build(requests_of_address=FEW), iter(range(1, 100))

        def ask() -> httpx.Response:
            forwarded = {"X-Forwarded-For": f"198.51.100.{next(made_up)}"}
            return self.from_address(world, "203.0.113.9", proxies, **forwarded).get("/api/v1/farm")

        spend(ask)


class TestNodes:
    def test_one_that_runs_wild_is_held_back_and_the_others_are_not(self, build: BuildWorld) -> None:
        world = build(requests_of_node=FEW)
        wild, calm = world.node(name="wild"), world.node(name="calm")
        refused = spend(lambda: wild.post("/agent/v1/sync", wild.sync_body([])))
        assert refused.json()["code"] == "rate_limited"
        calm.sync()

    def test_forged_requests_do_not_shut_the_real_one_out(self, build: BuildWorld) -> None:
        world = build(requests_of_node=FEW)
        node, forger = world.node(name="one"), world.node(name="two")
        for _ in range(20):
            body = node.sync_body([])
            header = sign_request(forger.identity, node.node_id, "POST", "/agent/v1/sync", body, time.time())
            assert node.post("/agent/v1/sync", body, header).status_code == 401
        node.sync()

    def test_guessed_tokens_are_bound_by_address_and_good_ones_are_not_counted(self, build: BuildWorld) -> None:
        world = build(requests_of_address=FEW)
        for number in range(8):
            world.node(name=f"node{number}")
        http = httpx.Client(transport=InProcess(create_agent_app(world.farm)), base_url="http://testserver")
        wish = {**world.node(name="model").enrolment.model_dump(mode="json"), "token": "mfe_guess"}
        spend(lambda: http.post("/agent/v1/enroll", json=wish))
