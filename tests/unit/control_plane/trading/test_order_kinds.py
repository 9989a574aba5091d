"""Orders of every kind over REST: what is sent for each, what is refused before, and what many at once come to."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.audit.model import AuditEntry
from control_plane.limits.lanes import Lane, lane_of
from mt5_bridge.contract import CONSTANTS
from node_agent.protocol.messages import DesiredTerminal
from tests.unit.control_plane.world import FakeTerminal, NodePlayer, Trader, World

pytestmark = pytest.mark.both_databases

BUY = {"symbol": "EURUSD", "side": "buy", "volume": 0.1}
LIMIT = {**BUY, "type": "limit", "price": 1.09}


@pytest.fixture
def ready(world: World, trader: Trader, node: NodePlayer) -> tuple[str, DesiredTerminal]:
    return world.ready_account(trader, node)


@pytest.fixture
def account(ready: tuple[str, DesiredTerminal]) -> str:
    return ready[0]


@pytest.fixture
def terminal(world: World, ready: tuple[str, DesiredTerminal]) -> FakeTerminal:
    return world.terminal(ready[1])


def test_each_kind_is_sent_as_the_official_api_has_it(trader: Trader, account: str, terminal: FakeTerminal) -> None:
    terminal.open_position(11)
    terminal.open_position(12, side=1)
    terminal.place_pending(21)
    stop_limit = {**BUY, "type": "stop_limit", "price": 1.11, "stop_limit_price": 1.105, "stop_loss": 1.1}
    end = {"expiration": "specified", "expires_broker_time": 1_700_003_600}
    wishes: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
        ("orders", {**BUY, "deviation": 3}, "open", {"action": "DEAL", "type": 0, "deviation": 3, "price": 1.1001}),
        ("orders", {**LIMIT, **end}, "pending", {"action": "PENDING", "type": 2, "type_time": 2, "type_filling": 2}),
        ("orders", stop_limit, "pending", {"action": "PENDING", "type": 6, "stoplimit": 1.105, "sl": 1.1}),
        ("positions/11/modify", {"stop_loss": 1.09}, "modify", {"action": "SLTP", "position": 11, "sl": 1.09, "tp": 0}),
        ("positions/11/close", {"volume": 0.04}, "close", {"action": "DEAL", "position": 11, "volume": 0.04}),
        ("positions/11/close-by", {"position_by": 12}, "close_by", {"action": "CLOSE_BY", "position_by": 12}),
        ("pending-orders/21/modify", {"price": 1.08}, "modify", {"action": "MODIFY", "order": 21, "price": 1.08}),
        ("pending-orders/21/cancel", {}, "cancel", {"action": "REMOVE", "order": 21}),
    ]
    for number, (path, body, kind, sent) in enumerate(wishes):
        order = trader.call("POST", f"/accounts/{account}/{path}", 201, body, key=f"k{number}")
        assert (order["kind"], order["state"]) == (kind, "done"), path
        wanted = {**sent, "action": CONSTANTS[f"TRADE_ACTION_{sent['action']}"]}
        request = terminal.sent[-1][1]
        assert {name: request.get(name) for name in wanted} == wanted, path
        assert trader.call("GET", f"/accounts/{account}/orders/{order['id']}") == order
    kinds = [each["kind"] for each in trader.call("GET", f"/accounts/{account}/orders")["items"]]
    assert kinds == [kind for *_, kind, _ in reversed(wishes)], "each wish is a row of its own"


@pytest.mark.parametrize(
    ("wish", "asked", "priced"),
    [(BUY, False, False), ({**BUY, "stop_loss": 1.09}, True, True), ({**BUY, "deviation": 0}, True, True)],
)
def test_a_price_is_asked_for_only_where_it_takes_part(
    wish: dict[str, Any],
    asked: bool,
    priced: bool,
    trader: Trader,
    account: str,
    terminal: FakeTerminal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker of these tests executes at its own price."""
    quotes: list[str] = []
    answer = terminal.symbol_info_tick

    def asked_for(symbol: str) -> Any:
        quotes.append(symbol)
        return answer(symbol)

    monkeypatch.setattr(terminal, "symbol_info_tick", asked_for)
    trader.call("POST", f"/accounts/{account}/orders", 201, wish, key="a")
    assert bool(quotes) is asked
    assert [name in terminal.sent[-1][1] for name in ("price", "deviation")] == [priced, priced]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("orders", {**BUY, "volume": 0.015}, "invalid_volume"),
        ("orders", {**BUY, "stop_loss": 1.2}, "invalid_stops"),
        ("orders", {**LIMIT, "price": 1.2}, "invalid_price"),
        ("orders", {**LIMIT, "expiration": "specified", "expires_broker_time": 5}, "invalid_expiration"),
        ("positions/11/close", {"volume": 0.2}, "invalid_volume"),
        ("positions/11/modify", {}, "no_change"),
        ("positions/11/close-by", {"position_by": 13}, "not_opposite"),
        ("pending-orders/21/modify", {"price": 1.3}, "invalid_price"),
    ],
)
def test_what_cannot_be_right_is_not_sent(
    trader: Trader, account: str, terminal: FakeTerminal, path: str, body: dict[str, Any], code: str
) -> None:
    for ticket in (11, 13):
        terminal.open_position(ticket)
    terminal.place_pending(21)
    problem = trader.call("POST", f"/accounts/{account}/{path}", 422, body, key="k")
    assert problem["code"] == code
    assert terminal.sent == []


@pytest.mark.parametrize(
    "body",
    [
        {**BUY, "price": 1.1},
        {**BUY, "type": "limit"},
        {**BUY, "type": "stop_limit", "price": 1.2},
        {**LIMIT, "expiration": "specified"},
        {**LIMIT, "expires_broker_time": 1_700_003_600},
        {**BUY, "expiration": "day"},
    ],
)
def test_fields_that_do_not_fit_the_type_are_refused(trader: Trader, account: str, body: dict[str, Any]) -> None:
    trader.call("POST", f"/accounts/{account}/orders", 422, body, key="k")


def test_what_is_not_there_cannot_be_changed(trader: Trader, account: str, terminal: FakeTerminal) -> None:
    found = trader.call("POST", f"/accounts/{account}/pending-orders/9/cancel", 404, key="a")
    assert found["code"] == "pending_order_not_found"
    trader.call("POST", f"/accounts/{account}/positions/9/modify", 404, {"stop_loss": 1.0}, key="b")


def test_pending_orders_are_listed_from_the_terminal(trader: Trader, account: str, terminal: FakeTerminal) -> None:
    terminal.place_pending(21, kind=5)
    items = trader.call("GET", f"/accounts/{account}/pending-orders")["items"]
    assert [(each["ticket"], each["side"], each["type"]) for each in items] == [(21, "sell", "stop")]


def test_a_preview_says_what_it_needs_and_risks_and_sends_nothing(
    trader: Trader, account: str, terminal: FakeTerminal
) -> None:
    good = trader.call("POST", f"/accounts/{account}/orders/preview", 200, {**BUY, "stop_loss": 1.0901})
    assert (good["problems"], good["retcode"], good["margin"]) == ([], 0, "110.01")
    assert (good["loss_at_stop"], good["margin_free_after"]) == ("-100.00", "9889.99")
    bad = trader.call("POST", f"/accounts/{account}/orders/preview", 200, {**BUY, "stop_loss": 1.2})
    assert [each["code"] for each in bad["problems"]] == ["invalid_stops"]
    assert bad["retcode"] is None
    assert terminal.sent == []


class TestTheCallersName:
    def test_is_kept_and_can_be_looked_for(self, trader: Trader, account: str, terminal: FakeTerminal) -> None:
        order = trader.call("POST", f"/accounts/{account}/orders", 201, {**BUY, "client_order_id": "mine-1"}, key="k")
        assert order["client_order_id"] == "mine-1"
        found = trader.call("GET", f"/accounts/{account}/orders?client_order_id=mine-1")["items"]
        assert [each["id"] for each in found] == [order["id"]]

    def test_stands_for_one_order_of_the_account(self, trader: Trader, account: str, terminal: FakeTerminal) -> None:
        named = {**BUY, "client_order_id": "mine-1"}
        first = trader.call("POST", f"/accounts/{account}/orders", 201, named, key="a")
        assert trader.call("POST", f"/accounts/{account}/orders", 201, named, key="a") == first
        problem = trader.call("POST", f"/accounts/{account}/orders", 409, named, key="b")
        assert problem["code"] == "client_order_id_used"
        assert len(terminal.sent) == 1


class TestManyAtOnce:
    def test_each_position_is_an_order_with_its_outcome(
        self, trader: Trader, account: str, terminal: FakeTerminal
    ) -> None:
        for ticket in (13, 11, 12):
            terminal.open_position(ticket)
        terminal.script = ["fill", "reject", "fill_then_lose_answer"]
        batch = trader.call("POST", f"/accounts/{account}/positions/close-all", 202, key="k")
        outcomes = {each["position_ticket"]: each["state"] for each in batch["items"]}
        assert outcomes == {11: "done", 12: "refused", 13: "unknown"}
        assert {each["batch_id"] for each in batch["items"]} == {batch["id"]}

    def test_the_same_key_gives_the_same_answer_and_closes_nothing_again(
        self, trader: Trader, account: str, terminal: FakeTerminal
    ) -> None:
        terminal.open_position(11)
        first = trader.call("POST", f"/accounts/{account}/positions/close-all", 201, key="k")
        assert trader.call("POST", f"/accounts/{account}/positions/close-all", 201, key="k") == first
        assert len(terminal.sent) == 1
        other = trader.call("POST", f"/accounts/{account}/positions/close-all", 409, {"symbol": "EURUSD"}, key="k")
        assert other["code"] == "idempotency_key_reused"
        assert trader.call("POST", f"/accounts/{account}/orders", 409, BUY, key="k")["code"] == "idempotency_key_reused"

    @pytest.mark.parametrize(
        ("wish", "closed"),
        [
            ({"which": "profitable"}, [12]),
            ({"which": "losing"}, [11]),
            ({"symbol": "EURUSD"}, [11, 12]),
            ({"symbol": "GBPUSD"}, []),
        ],
    )
    def test_only_those_that_were_meant(
        self, trader: Trader, account: str, terminal: FakeTerminal, wish: dict[str, str], closed: list[int]
    ) -> None:
        terminal.open_position(11, profit=-1.0)
        terminal.open_position(12, profit=1.0)
        trader.call("POST", f"/accounts/{account}/positions/close-all", 201, wish, key="k")
        assert [request["position"] for _, request in terminal.sent] == closed

    def test_all_pending_orders_are_cancelled(self, trader: Trader, account: str, terminal: FakeTerminal) -> None:
        terminal.place_pending(21)
        terminal.place_pending(22, kind=4, price=1.12)
        batch = trader.call("POST", f"/accounts/{account}/pending-orders/cancel-all", 201, key="k")
        assert [(each["kind"], each["pending_ticket"]) for each in batch["items"]] == [("cancel", 21), ("cancel", 22)]

    @pytest.mark.parametrize("path", ["positions/close-all", "pending-orders/cancel-all"])
    def test_it_has_the_lane_that_nothing_else_uses_up(self, path: str) -> None:
        assert lane_of("POST", f"/accounts/{{account_id}}/{path}") is Lane.EXIT


class TestAPersonsWord:
    @pytest.mark.parametrize(("happened", "state"), [(True, "done"), (False, "not_executed")])
    def test_settles_what_nobody_else_can(
        self, world: World, trader: Trader, account: str, terminal: FakeTerminal, happened: bool, state: str
    ) -> None:
        terminal.script = ["no_answer_yet"]
        order = trader.call("POST", f"/accounts/{account}/orders", 202, BUY, key="k")
        path = f"/accounts/{account}/orders/{order['id']}/resolve"
        early = trader.call("POST", path, 409, {"happened": happened})
        assert early["code"] == "order_not_unknown", "the farm is still finding out"
        world.clock.advance(seconds=61)
        world.run_loops()
        asked = trader.call("GET", f"/accounts/{account}/orders?asks_person=true")["items"]
        assert [(each["id"], each["asks_person"]) for each in asked] == [(order["id"], True)]
        settled = trader.call("POST", path, 200, {"happened": happened, "note": "seen in the terminal"})
        assert (settled["state"], settled["asks_person"]) == (state, False)
        assert settled["message"].endswith("seen in the terminal")
        trader.call("POST", path, 409, {"happened": not happened})
        with world.farm.database.read_as_system() as session:
            deeds = [each.action for each in session.query(AuditEntry).filter_by(subject_id=order["id"])]
        assert deeds == ["order_open", "order_resolve"]
