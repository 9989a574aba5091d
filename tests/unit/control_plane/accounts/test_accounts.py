"""Connecting and showing trading accounts."""

from __future__ import annotations

import pytest

from control_plane.jobs.model import Job
from control_plane.jobs.state import JobKind
from tests.unit.control_plane.world import NodePlayer, Trader, World

pytestmark = pytest.mark.both_databases


def test_a_mistyped_server_gets_a_suggestion(trader: Trader) -> None:
    body = {"label": "x", "login": 1, "password": "p", "server": "MT5Farm-Dmeo"}
    problem = trader.call("POST", "/accounts", 422, body)
    assert (problem["code"], problem["errors"][0]["field"]) == ("unknown_server", "server")
    assert "Did you mean MT5Farm-Demo?" in problem["detail"]


def test_the_same_login_cannot_be_connected_twice(trader: Trader) -> None:
    trader.connect(5001)
    body = {"label": "x", "login": 5001, "password": "p", "server": "MT5Farm-Demo"}
    assert trader.call("POST", "/accounts", 409, body)["code"] == "account_already_connected"


def test_a_removed_login_can_be_connected_again(trader: Trader) -> None:
    first = trader.connect(5001)
    trader.call("DELETE", f"/accounts/{first['id']}", 202)
    assert trader.connect(5001)["id"] != first["id"]


def test_the_account_and_its_placement_are_written_together(world: World, trader: Trader) -> None:
    trader.connect()
    with world.farm.database.read_as_system() as session:
        assert [(job.kind, job.state) for job in session.query(Job) if job.kind != JobKind.SEND_MAIL] == [
            ("place_terminal", "queued")
        ]


def test_no_answer_ever_holds_the_password(trader: Trader) -> None:
    account = trader.connect(password="broker-secret")
    shown = trader.http.get(f"/api/v1/accounts/{account['id']}").text + trader.http.get("/api/v1/accounts").text
    assert "broker-secret" not in shown


def test_money_is_shown_as_decimal_text(world: World, trader: Trader, node: NodePlayer) -> None:
    account, _ = world.ready_account(trader, node)
    shown = trader.call("GET", f"/accounts/{account}")
    assert shown["currency"] == "USD"
    assert (shown["snapshot"]["balance"], shown["snapshot"]["margin"]) == ("10000.00", "0.00")


def test_servers_are_found_by_name_or_company(trader: Trader) -> None:
    items = trader.call("GET", "/broker-servers?query=DEMO")["items"]
    assert [(each["name"], each["company"], each["simulated"]) for each in items] == [
        ("MT5Farm-Demo", "MT5 Farm", True)
    ]
    assert trader.call("GET", "/broker-servers?query=%25")["items"] == []


def test_live_data_come_from_the_terminal(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = world.ready_account(trader, node)
    world.terminal(wanted).open_position(31)
    symbol = trader.call("GET", f"/accounts/{account}/symbols")["items"][0]
    assert (symbol["name"], symbol["bid"], symbol["volume_step"]) == ("EURUSD", 1.1, 0.01)
    bars = trader.call("GET", f"/accounts/{account}/bars?symbol=EURUSD&timeframe=M5&count=3")
    assert (bars["digits"], len(bars["items"]), bars["items"][0]["tick_volume"]) == (5, 3, 7)
    position = trader.call("GET", f"/accounts/{account}/positions")["items"][0]
    assert (position["ticket"], position["side"], position["profit"]) == (31, "buy", "-0.80")
    assert trader.call("GET", f"/accounts/{account}/bars?symbol=NOPE", 422)["code"] == "unknown_symbol"
    assert (
        trader.call("GET", f"/accounts/{account}/bars?symbol=EURUSD&timeframe=M7", 422)["code"] == "unknown_timeframe"
    )
