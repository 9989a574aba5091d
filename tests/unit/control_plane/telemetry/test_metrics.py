"""Metrics count what happens, and name nobody."""

from __future__ import annotations

import re

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from control_plane.app import create_operations_app
from control_plane.db.engine import Database
from tests.postgres import APPLICATION, OWNER
from tests.unit.control_plane.world import InProcess, World, browser

pytestmark = pytest.mark.both_databases

ALLOWED_LABELS = {"app", "method", "route", "status", "le", "check", "loop", "kind", "state", "availability"} | {
    "identity",
    "phase",
    "part",
    "budget",
}


def scrape(world: World) -> dict[str, dict[tuple[str, ...], float]]:
    """By name of the sample: its labels' values, sorted by the labels' names, and its value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    with InProcess(create_operations_app(world.farm)).client() as http:
        answer = http.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            key = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[key] = sample.value
    return found


def test_requests_are_counted_by_the_template_of_their_route(world: World) -> None:
    trader = world.trader()
    account = trader.connect()["id"]
    for _ in range(2):
        trader.call("GET", f"/accounts/{account}")
    trader.call("GET", "/accounts/acc_nobody", 404)
    counted = scrape(world)
    requests = counted["mt5farm_http_requests_total"]
    assert requests["portal", "GET", "/api/v1/accounts/{account_id}", "200"] == 2
    assert requests["portal", "GET", "/api/v1/accounts/{account_id}", "404"] == 1
    assert counted["mt5farm_http_request_seconds_count"]["portal", "GET", "/api/v1/accounts/{account_id}"] == 3


def test_syncs_of_nodes_are_timed(world: World) -> None:
    node = world.node()
    node.sync()
    node.sync()
    assert scrape(world)["mt5farm_http_request_seconds_count"]["agents", "POST", "/agent/v1/sync"] == 2


def test_the_state_of_the_farm_is_counted(world: World) -> None:
    trader, node = world.trader(), world.node()
    world.ready_account(trader, node)
    trader.connect(5002)
    with world.farm.database.write_as_system() as session:
        session.execute(text("UPDATE jobs SET state = 'dead' WHERE state = 'done'"))
    found = scrape(world)
    assert found["mt5farm_terminals"]["ready",] == 1
    assert found["mt5farm_nodes"]["open", "trusted", "online"] == 1
    assert found["mt5farm_jobs"]["place_terminal", "dead"] == 1
    assert found["mt5farm_jobs"]["place_terminal", "queued"] == 1
    assert found["mt5farm_ready"]["database",] == 1


def test_an_order_with_an_unknown_outcome_is_counted(world: World) -> None:
    trader = world.trader()
    account, wanted = world.ready_account(trader, world.node())
    world.terminal(wanted).script = ["unclear"]
    order = {"symbol": "EURUSD", "side": "buy", "volume": 0.1}
    assert trader.request("POST", f"/accounts/{account}/orders", order, key="k1").status_code in {200, 201, 202}
    assert scrape(world)["mt5farm_orders_open"] == {("unknown",): 1}


def test_a_database_that_is_away_leaves_the_figures_out_and_says_so(world: World) -> None:
    owner = Database(world.farm.database.url.replace(APPLICATION, OWNER))
    with owner.write_as_system() as session:
        session.execute(text("DROP TABLE alembic_version"))
        session.execute(text("ALTER TABLE jobs RENAME TO gone"))
    owner.close()
    found = scrape(world)
    assert "mt5farm_jobs" not in found
    assert found["mt5farm_ready"]["database",] == 0


@pytest.mark.parametrize(
    "path", ["/api/v1/accounts/secret-1234", "/nowhere/secret-1234", "/api/v1/secret-1234?x=secret-1234"]
)
def test_nothing_that_somebody_sends_becomes_a_label(world: World, path: str) -> None:
    http = browser(world.farm)
    http.get(path)
    http.request("SECRET-1234", path)
    with InProcess(create_operations_app(world.farm)).client() as operations:
        shown = operations.get("/metrics").text
    assert "secret-1234" not in shown.lower()


def test_no_label_could_name_a_tenant_a_login_or_an_account(world: World) -> None:
    trader, node = world.trader(), world.node()
    account, _ = world.ready_account(trader, node)
    with InProcess(create_operations_app(world.farm)).client() as operations:
        shown = operations.get("/metrics").text
    labels = {
        name for family in text_string_to_metric_families(shown) for each in family.samples for name in each.labels
    }
    assert labels <= ALLOWED_LABELS
    assert not re.search(rf'="[^"]*(?:5001|{account}|{node.node_id}|trader@|MT5Farm-Demo)', shown)


def test_metrics_are_not_on_the_portal(world: World) -> None:
    answer: httpx.Response = browser(world.farm).get("/metrics")
    assert "mt5farm_" not in answer.text
