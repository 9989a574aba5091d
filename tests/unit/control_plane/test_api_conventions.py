"""Conventions that every route of the contract keeps to, also those that are added next."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter, Depends

from control_plane import app as application
from control_plane.accounts import repository as accounts_repository
from control_plane.api_route import ApiRoute
from control_plane.app import _API_ROUTERS, _api_routes, _is_of_orders, openapi_document
from control_plane.contract import completed
from control_plane.idempotency.schemas import ShownOnce
from control_plane.trading.order_routes import router as orders_router
from tests.tenants import BOT
from tests.unit.control_plane.world import NodePlayer, Trader, World

DOCUMENT = openapi_document()
SECRETS = {"key", "secret", "token", "ticket", "codes", "password"}
WHOLE_LISTS = {
    "list_bars": "newest bars, as many as were asked for",
    "list_symbols": "the terminal's answer",
    "list_positions": "the terminal's answer",
    "list_deal_corrections": "edits of one deal",
    "list_pending_orders": "the terminal's answer",
    "close_all_positions": "one answer to one request",
    "cancel_all_pending_orders": "one answer to one request",
    "list_strategies": "a table of the code",
    "list_broker_servers": "the best 50 of a search",
    "list_recorded_mails": "the newest 50 of a farm that is tried out",
    "list_api_keys": "50 at most",
    "list_limit_presets": "a table of the code",
    "list_thresholds": "100 at most",
    "list_webhooks": "10 at most",
    "list_copiers": "50 at most",
    "list_copied_positions": "the newest, as many as were asked for",
    "list_copy_invitations": "50 at most",
    "list_sessions": "one person's browsers",
    "list_member_accounts": "one person's accounts, 500 at most",
    "list_passkeys": "20 at most",
    "get_calendar": "days of one month",
    "get_positions_last_seen": "the terminal answered it whole",
    "list_invitations": "1000 open ones at most",
    "list_service_accounts": "100 at most",
    "list_service_keys": "50 at most",
}
"""Lists that are answered whole, and why they cannot grow."""


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def schema_of(operation: dict[str, Any]) -> dict[str, Any]:
    """Of the answer when all is well; empty when there is none."""
    success = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
    reference = success.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
    found: dict[str, Any] = DOCUMENT["components"]["schemas"].get(reference.rpartition("/")[2], {})
    return found


def routes() -> Iterator[ApiRoute]:
    for router in application._API_ROUTERS:
        for route in router.routes:
            assert isinstance(route, ApiRoute)
            yield route


def test_a_router_without_the_conventions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = APIRouter()
    plain.get("/plain")(lambda: None)
    monkeypatch.setattr(application, "_API_ROUTERS", (plain,))
    application._api_routes.cache_clear()
    with pytest.raises(TypeError, match="route_class=ApiRoute"):
        openapi_document()


def test_no_two_schemas_have_one_public_name() -> None:
    schemas = {"Strategy": {"type": "string"}, "StrategyOut": {"type": "object"}}
    with pytest.raises(TypeError, match="one public name"):
        completed({"paths": {}, "components": {"schemas": schemas}})


def test_every_list_has_pages_or_a_reason() -> None:
    for call, operation in operations():
        if "items" not in schema_of(operation).get("properties", {}) or operation["operationId"] in WHOLE_LISTS:
            continue
        parameters = {each["name"] for each in operation.get("parameters", [])}
        if operation["operationId"] == "get_equity":
            continue  # thinned to the limit
        assert {"cursor", "limit"} <= parameters, call
        assert "next_cursor" in schema_of(operation)["properties"], call


def test_every_deed_of_somebody_can_be_repeated() -> None:
    for call, operation in operations():
        if call.startswith("POST") and "security" in operation:
            assert "Idempotency-Key" in {each["name"] for each in operation["parameters"]}, call


def test_a_secret_of_an_answer_is_kept_by_no_repetition() -> None:
    for route in routes():
        model = route.response_model
        if not route.is_repeatable or not isinstance(model, type):
            continue
        shows = SECRETS & set(getattr(model, "model_fields", {}))
        assert not shows or issubclass(model, ShownOnce), f"{model.__name__} shows {shows}: derive it from ShownOnce"


def test_what_can_be_changed_as_seen_shows_its_tag() -> None:
    for call, operation in operations():
        if "If-Match" in {each["name"] for each in operation.get("parameters", [])}:
            assert "412" in operation["responses"], call
            path = call.split(" ")[1]
            thing = path.partition("}")[0] + "}" if "}" in path else path
            seen = DOCUMENT["paths"][thing]["get"]["responses"]["200"]
            assert "ETag" in seen["headers"], thing


def test_every_call_says_that_the_farm_may_be_busy() -> None:
    for call, operation in operations():
        assert {"422", "429", "503"} <= set(operation["responses"]), call


@pytest.mark.both_databases
class TestFilters:
    def ids(self, person: Trader, path: str) -> list[str]:
        return [each["id"] for each in person.call("GET", path)["items"]]

    def test_of_accounts_and_bots(self, trader: Trader) -> None:
        first, second = (trader.connect(login)["id"] for login in (1, 2))
        trader.call("POST", f"/accounts/{second}/undeploy", 202)
        assert self.ids(trader, "/accounts?intent=running") == [first]
        assert self.ids(trader, "/accounts?server=Other") == []
        bots = [trader.call("POST", "/bots", 201, {**BOT, "account_id": each})["id"] for each in (first, second)]
        trader.call("POST", f"/bots/{bots[1]}/start", 202)
        assert self.ids(trader, "/bots?intent=running") == [bots[1]]
        assert self.ids(trader, f"/bots?intent=running&account_id={first}") == []
        assert self.ids(trader, f"/bots?strategy={BOT['strategy']}&limit=1") == [bots[0]]
        trader.call("GET", "/bots?intent=asleep", 422)

    def test_of_orders(self, world: World, trader: Trader, node: NodePlayer) -> None:
        account, _ = world.ready_account(trader, node)
        wish = {"symbol": "EURUSD", "side": "buy", "volume": 0.1}
        made = []
        for key in ("a", "b"):
            made.append(trader.call("POST", f"/accounts/{account}/orders", 201, wish, key=key)["id"])
            world.clock.advance(seconds=10)
        first, second = made
        moment = trader.call("GET", f"/accounts/{account}/orders")["items"][0]["created_at"].replace("+", "%2B")
        path = f"/accounts/{account}/orders"
        assert self.ids(trader, f"{path}?state=done&symbol=EURUSD") == [second, first]
        assert self.ids(trader, f"{path}?since={moment}") == [second]
        assert self.ids(trader, f"{path}?until={moment}") == [first]
        assert self.ids(trader, f"{path}?state=refused") == []
        page = trader.call("GET", f"{path}?symbol=EURUSD&limit=1")
        assert self.ids(trader, f"{path}?symbol=EURUSD&limit=1&cursor={page['next_cursor']}") == [first]

    @pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B23:59", "2026-01-01T00:00:00", "yesterday"])
    def test_by_a_moment_that_is_none_are_refused(self, trader: Trader, moment: str) -> None:
        account = trader.connect()["id"]
        trader.call("GET", f"/accounts/{account}/orders?since={moment}", 422)
        trader.call("GET", f"/accounts/{account}/deals?until={moment}", 422)


def test_the_addresses_of_orders_are_nobody_elses() -> None:
    """Their routes are looked through before all others, which must change nothing."""
    routes: list[tuple[bool, Any]] = [
        (router is orders_router, each) for router in _API_ROUTERS for each in router.routes
    ]
    found = [
        (each.path, other.path)
        for of_orders, each in routes
        for of_orders_too, other in routes
        if of_orders is not of_orders_too
        and each.methods & other.methods
        and other.path_regex.match(re.sub(r"\{[^}]*\}", "x", each.path))
    ]
    assert found == []
    assert [_is_of_orders(each) for each in _api_routes()].count(True) == 1


def test_a_request_is_carried_out_in_one_thread(world: World, trader: Trader, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    authenticate, views = world.farm.sessions.authenticate, accounts_repository.views

    def noting(function: Any) -> Any:
        def noted(*args: Any, **options: Any) -> Any:
            threads.add(threading.get_ident())
            return function(*args, **options)

        return noted

    monkeypatch.setattr(world.farm.sessions, "authenticate", noting(authenticate))
    monkeypatch.setattr(accounts_repository, "views", noting(views))
    trader.call("GET", "/accounts")
    assert len(threads) == 1
    assert threading.get_ident() not in threads  # which holds the event loop


def test_a_dependency_that_would_need_a_thread_of_its_own_is_refused() -> None:
    def blocks() -> int:
        return 1

    router = APIRouter(route_class=ApiRoute)
    with pytest.raises(TypeError, match="aside"):
        router.get("/x", dependencies=[Depends(blocks)])(lambda: None)
