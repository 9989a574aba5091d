"""Orders: written down first, sent at most once, settled exactly once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from control_plane.access.port import Target, TerminalSession
from control_plane.trading import outcome
from control_plane.trading.model import Order
from control_plane.trading.state import OrderState
from mt5_bridge.contract import RETCODES
from mt5_bridge.structs import OrderSendResult
from mt5_bridge.trading import UNCERTAIN
from node_agent.protocol.messages import DesiredTerminal, OrderBody
from node_agent.protocol.tickets import Scope
from tests.unit.control_plane.world import (
    FakeTerminal,
    NodePlayer,
    Trader,
    World,
    deal_body,
    event,
    filled,
    ready_browser,
)

pytestmark = pytest.mark.both_databases

BUY = {"symbol": "EURUSD", "side": "buy", "volume": 0.1}


@pytest.fixture
def ready(world: World, trader: Trader, node: NodePlayer) -> tuple[str, DesiredTerminal]:
    return world.ready_account(trader, node)


@pytest.fixture
def account(ready: tuple[str, DesiredTerminal]) -> str:
    return ready[0]


@pytest.fixture
def terminal(world: World, ready: tuple[str, DesiredTerminal]) -> FakeTerminal:
    return world.terminal(ready[1])


def orders(trader: Trader, account: str) -> list[dict[str, object]]:
    items: list[dict[str, object]] = trader.call("GET", f"/accounts/{account}/orders")["items"]
    return items


def test_a_filled_order_is_done(trader: Trader, account: str, terminal: FakeTerminal) -> None:
    order = trader.call("POST", f"/accounts/{account}/orders", 201, BUY, key="k")
    assert (order["state"], order["retcode_name"], order["deal_ticket"]) == ("done", "TRADE_RETCODE_DONE", 700)
    assert (order["kind"], order["side"], order["price"]) == ("open", "buy", 1.1001)
    assert terminal.sent[0][0] == order["id"]
    assert terminal.sent[0][1]["type_filling"] == 0


def test_an_answer_does_not_undo_what_settled_the_order_before_it(
    world: World, trader: Trader, account: str, terminal: FakeTerminal
) -> None:
    """The node may tell sooner what became of an order than the answer comes."""

    def settle() -> None:
        with world.farm.database.write_as_system() as session:
            row = session.query(Order).one()
            row.state, row.retcode, row.deal_ticket = OrderState.DONE, 10009, 701

    terminal.before_send = settle
    order = trader.call("POST", f"/accounts/{account}/orders", 201, BUY, key="k")
    assert (order["state"], order["deal_ticket"]) == ("done", 701)
    assert [each["deal_ticket"] for each in orders(trader, account)] == [701]


def test_the_intent_is_committed_before_it_is_sent(
    world: World, trader: Trader, account: str, terminal: FakeTerminal
) -> None:
    seen: list[str] = []

    def look() -> None:
        with world.farm.database.read_as_system() as session:
            seen.extend(order.state for order in session.query(Order))

    terminal.before_send = look
    trader.call("POST", f"/accounts/{account}/orders", 201, BUY, key="k")
    assert seen == ["sent"]


def test_it_is_sent_in_the_name_of_the_user(world: World, trader: Trader, account: str, terminal: FakeTerminal) -> None:
    order = trader.call("POST", f"/accounts/{account}/orders", 201, BUY, key="k")
    assert order["principal"] == f"user:{trader.user['id']}"
    assert world.door.opened[-1][1:] == (Scope.TRADE, order["principal"])


def test_a_refusal_of_the_broker_is_an_outcome_not_an_error(
    trader: Trader, account: str, terminal: FakeTerminal
) -> None:
    terminal.script = ["reject"]
    order = trader.call("POST", f"/accounts/{account}/orders", 201, BUY, key="k")
    assert (order["state"], order["message"]) == ("refused", "There is not enough free margin.")


def test_a_refusal_of_the_bridge_says_that_nothing_was_sent(
    trader: Trader, account: str, terminal: FakeTerminal
) -> None:
    terminal.script = ["guard_volume"]
    order = trader.call("POST", f"/accounts/{account}/orders", 201, BUY, key="k")
    assert (order["state"], order["retcode"]) == ("refused", 0)


class TestIdempotency:
    def test_the_same_key_and_body_give_the_same_order(
        self, trader: Trader, account: str, terminal: FakeTerminal
    ) -> None:
        first = trader.call("POST", f"/accounts/{account}/orders", 201, BUY, key="k")
        second = trader.call("POST", f"/accounts/{account}/orders", 201, BUY, key="k")
        assert first == second
        assert len(terminal.sent) == 1

    def test_the_same_key_at_the_same_moment_is_one_order(
        self, world: World, trader: Trader, account: str, terminal: FakeTerminal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both have seen that the key is new before either writes it down."""
        both, quote = threading.Barrier(2, timeout=30), terminal.symbol_info_tick
        met: list[int] = []

        def quote_for_both(symbol: str) -> Any:
            met.append(both.wait())
            return quote(symbol)

        http = ready_browser(world.farm, **{"Idempotency-Key": "k"})
        http.cookies.update(dict(trader.http.cookies))

        def place(_number: int) -> httpx.Response:
            # With a deviation, so that a price is asked for.
            return http.post(f"/api/v1/accounts/{account}/orders", json={**BUY, "deviation": 10})

        monkeypatch.setattr(terminal, "symbol_info_tick", quote_for_both)
        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(place, range(2)))
        assert sorted(met) == [0, 1]
        assert {each.status_code for each in answers} <= {201, 202}
        assert len({each.json()["id"] for each in answers}) == 1
        assert len(terminal.sent) == 1

    def test_a_key_that_closes_all_in_the_meantime_places_nothing(
        self, trader: Trader, account: str, terminal: FakeTerminal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Keys of single orders and of many at once lie in different tables."""
        terminal.open_position(11)
        quote = terminal.symbol_info_tick
        closed: list[str] = []

        def quote_after_closing(symbol: str) -> Any:
            if not closed:
                closed.append(symbol)
                threads.submit(
                    trader.call, "POST", f"/accounts/{account}/positions/close-all", 201, {}, key="k"
                ).result(30)
            return quote(symbol)

        monkeypatch.setattr(terminal, "symbol_info_tick", quote_after_closing)
        with ThreadPoolExecutor(1) as threads:
            wish = {**BUY, "deviation": 10}
            problem = trader.call("POST", f"/accounts/{account}/orders", 409, wish, key="k")
        assert problem["code"] == "idempotency_key_reused"
        assert [request.get("position") for _, request in terminal.sent] == [11]

    def test_the_same_key_with_another_body_is_refused(
        self, trader: Trader, account: str, terminal: FakeTerminal
    ) -> None:
        trader.call("POST", f"/accounts/{account}/orders", 201, BUY, key="k")
        problem = trader.call("POST", f"/accounts/{account}/orders", 409, {**BUY, "volume": 0.2}, key="k")
        assert problem["code"] == "idempotency_key_reused"
        assert len(terminal.sent) == 1

    def test_a_key_is_required(self, trader: Trader, account: str, terminal: FakeTerminal) -> None:
        problem = trader.call("POST", f"/accounts/{account}/orders", 422, BUY)
        assert problem["errors"][0]["field"] == "Idempotency-Key"
        assert terminal.sent == []

    def test_keys_of_different_users_do_not_meet(
        self, world: World, trader: Trader, node: NodePlayer, account: str, terminal: FakeTerminal
    ) -> None:
        other = world.trader("other@example.com")
        other_account, _ = world.ready_account(other, node, login=5002)
        first = trader.call("POST", f"/accounts/{account}/orders", 201, BUY, key="k")
        second = other.call("POST", f"/accounts/{other_account}/orders", 201, BUY, key="k")
        assert first["id"] != second["id"]

    def test_an_input_error_does_not_use_up_the_key(self, trader: Trader, account: str, terminal: FakeTerminal) -> None:
        trader.call("POST", f"/accounts/{account}/orders", 422, {**BUY, "volume": 0.015}, key="k")
        trader.call("POST", f"/accounts/{account}/orders", 201, BUY, key="k")


class TestUnknownOutcomes:
    def test_a_lost_answer_is_settled_from_the_journal_and_never_sent_again(
        self, world: World, trader: Trader, account: str, terminal: FakeTerminal
    ) -> None:
        terminal.script = ["fill_then_lose_answer"]
        order = trader.call("POST", f"/accounts/{account}/orders", 202, BUY, key="k")
        assert order["state"] == "unknown"
        world.clock.advance(seconds=4)
        world.run_loops()
        assert [each["state"] for each in orders(trader, account)] == ["done"]
        assert len(terminal.sent) == 1

    def test_a_return_code_that_does_not_say_what_the_broker_did_is_no_refusal(
        self, world: World, trader: Trader, account: str, terminal: FakeTerminal
    ) -> None:
        terminal.script = ["unclear"]
        order = trader.call("POST", f"/accounts/{account}/orders", 202, BUY, key="k")
        assert order["state"] == "unknown"
        terminal.settle(order["id"], "done", 10009)
        world.clock.advance(seconds=4)
        world.run_loops()
        assert orders(trader, account)[0]["state"] == "done"

    def test_the_bridge_and_the_control_plane_agree_on_which_return_codes_are_unclear(self) -> None:
        results = [filled(OrderSendResult, retcode=code) for code in RETCODES]
        unclear = {each.retcode for each in results if outcome.of_result(each).state is OrderState.UNKNOWN}
        assert unclear == UNCERTAIN

    def test_one_that_cannot_be_judged_does_not_keep_the_others_waiting(
        self, world: World, trader: Trader, account: str, terminal: FakeTerminal
    ) -> None:
        terminal.script = ["fill_then_lose_answer", "fill_then_lose_answer"]
        first, second = (trader.call("POST", f"/accounts/{account}/orders", 202, BUY, key=key) for key in "ab")
        terminal.settle(first["id"], "a state of a later version")
        world.clock.advance(seconds=4)
        world.run_loops()
        states = {each["id"]: each["state"] for each in orders(trader, account)}
        assert states == {first["id"]: "unknown", second["id"]: "done"}

    def test_an_order_that_never_arrived_is_not_executed_once_it_can_not_arrive_any_more(
        self, world: World, trader: Trader, account: str, terminal: FakeTerminal
    ) -> None:
        terminal.script = ["lose_before_arrival"]
        trader.call("POST", f"/accounts/{account}/orders", 202, BUY, key="k")
        world.clock.advance(seconds=10)
        world.run_loops()
        assert orders(trader, account)[0]["state"] == "unknown"
        assert terminal.given_up == []
        world.clock.advance(seconds=25)
        world.run_loops()
        order = orders(trader, account)[0]
        assert order["state"] == "not_executed"
        assert terminal.given_up == [order["id"]], "its frame may be held up on the way, for as long as it likes"
        assert world.door.opened[-1][1] is Scope.TRADE

    def test_an_order_that_arrives_just_before_it_is_given_up_is_followed(
        self, world: World, trader: Trader, account: str, terminal: FakeTerminal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        terminal.script = ["lose_before_arrival"]
        order = trader.call("POST", f"/accounts/{account}/orders", 202, BUY, key="k")
        monkeypatch.setattr(terminal, "outcome", lambda _: terminal.settle(order["id"], "done", 10009))
        world.clock.advance(seconds=35)
        world.run_loops()
        assert orders(trader, account)[0]["state"] == "done"

    def test_what_cannot_be_settled_within_a_minute_is_shown_to_a_person(
        self, world: World, trader: Trader, account: str, terminal: FakeTerminal
    ) -> None:
        terminal.script = ["no_answer_yet"]
        order = trader.call("POST", f"/accounts/{account}/orders", 202, BUY, key="k")
        world.clock.advance(seconds=70)
        world.run_loops()
        assert "check your open positions" in str(orders(trader, account)[0]["message"])
        terminal.settle(order["id"], "done", 10009)
        world.clock.advance(seconds=40)
        world.run_loops()
        assert orders(trader, account)[0]["state"] == "done"

    def test_an_order_of_a_crashed_request_is_not_executed_and_can_never_be_sent(
        self, world: World, trader: Trader, account: str, terminal: FakeTerminal
    ) -> None:
        trader.call("POST", f"/accounts/{account}/orders", 201, BUY, key="k")
        with world.farm.database.write_as_system() as session:
            row = session.query(Order).one()
            row.state, row.settled_at, row.look_again_at = "pending", None, world.clock.now()
        world.clock.advance(seconds=31)
        world.run_loops()
        assert orders(trader, account)[0]["state"] == "not_executed"

    def test_the_journal_of_a_later_assignment_proves_nothing(
        self, world: World, trader: Trader, node: NodePlayer, ready: tuple[str, DesiredTerminal]
    ) -> None:
        account, wanted = ready
        world.terminal(wanted).script = ["lose_before_arrival"]
        trader.call("POST", f"/accounts/{account}/orders", 202, BUY, key="k")
        trader.call("POST", f"/accounts/{account}/undeploy", 202)
        node.sync()
        node.sync()
        trader.call("POST", f"/accounts/{account}/deploy", 202)
        world.run_loops()
        again = node.fetch().terminals[0]
        node.make_ready(again)
        world.clock.advance(seconds=50)
        world.run_loops()
        assert again.epoch == 2
        assert orders(trader, account)[0]["state"] == "unknown"

    def test_news_from_the_node_settle_it_as_well(
        self, trader: Trader, node: NodePlayer, ready: tuple[str, DesiredTerminal], terminal: FakeTerminal
    ) -> None:
        account, wanted = ready
        terminal.script = ["fill_then_lose_answer"]
        order = trader.call("POST", f"/accounts/{account}/orders", 202, BUY, key="k")
        node.deliver(event(wanted, "e1", order_body(order["id"], "done", retcode=10009, deal=700)))
        assert [(each["id"], each["state"]) for each in orders(trader, account)] == [(order["id"], "done")]

    @pytest.mark.parametrize("state", ["journaled", "sent", "unknown"])
    def test_a_bots_order_whose_node_was_lost_with_its_outcome_is_shown_to_a_person(
        self,
        world: World,
        trader: Trader,
        node: NodePlayer,
        ready: tuple[str, DesiredTerminal],
        terminal: FakeTerminal,
        state: str,
    ) -> None:
        account, wanted = ready
        node.deliver(event(wanted, "e1", order_body("bot-order-1", state)))
        world.clock.advance(seconds=61)
        world.run_loops()
        shown = orders(trader, account)[0]
        assert shown["state"] == "unknown", "the journal that knew it knows it no more, which proves nothing"
        assert "check your open positions" in str(shown["message"])
        node.deliver(event(wanted, "e2", order_body("bot-order-1", "done", retcode=10009, deal=42)))
        assert orders(trader, account)[0]["state"] == "done", "it comes late"

    def test_a_bots_order_is_settled_from_the_journal_as_well(
        self,
        world: World,
        trader: Trader,
        node: NodePlayer,
        ready: tuple[str, DesiredTerminal],
        terminal: FakeTerminal,
    ) -> None:
        account, wanted = ready
        node.deliver(event(wanted, "e1", order_body("bot-order-1", "sent")))
        terminal.settle("bot-order-1", "done", 10009)
        world.clock.advance(seconds=61)
        world.run_loops()
        assert orders(trader, account)[0]["state"] == "done"

    def test_a_terminal_that_does_not_answer_is_asked_once_a_round_and_keeps_no_other_waiting(
        self, world: World, trader: Trader, node: NodePlayer, ready: tuple[str, DesiredTerminal]
    ) -> None:
        _, wanted = ready
        other, other_wanted = world.ready_account(trader, node, 5002)
        node.deliver(*(event(wanted, f"e{n}", order_body(f"bot-{n}", "sent")) for n in range(5)))
        node.deliver(event(other_wanted, "e", order_body("other", "sent")))
        world.terminal(other_wanted).settle("other", "done", 10009)
        world.door.dead.add(wanted.terminal_id)
        world.clock.advance(seconds=61)
        world.door.opened.clear()
        world.run_loops()
        assert [target.terminal_id for target, *_ in world.door.opened].count(wanted.terminal_id) == 1
        assert orders(trader, other)[0]["state"] == "done"

    def test_late_news_do_not_change_a_settled_order(
        self, trader: Trader, node: NodePlayer, ready: tuple[str, DesiredTerminal], terminal: FakeTerminal
    ) -> None:
        account, wanted = ready
        order = trader.call("POST", f"/accounts/{account}/orders", 201, BUY, key="k")
        node.deliver(event(wanted, "e1", order_body(order["id"], "sent")))
        node.deliver(event(wanted, "e2", order_body(order["id"], "refused", retcode=10006)))
        assert orders(trader, account)[0]["state"] == "done"


class TestInputThatCannotBeRight:
    @pytest.mark.parametrize(
        ("change", "field", "code"),
        [
            ({"symbol": "NOPE"}, "symbol", "unknown_symbol"),
            ({"volume": 0.015}, "volume", "invalid_volume"),
            ({"volume": 0.001}, "volume", "invalid_volume"),
            ({"volume": 500.01}, "volume", "invalid_volume"),
            ({"volume": -1}, "volume", "invalid_input"),
            ({"side": "up"}, "side", "invalid_input"),
            ({"stop_loss": 0}, "stop_loss", "invalid_input"),
        ],
    )
    def test_is_refused_before_anything_is_sent(
        self, trader: Trader, account: str, terminal: FakeTerminal, change: dict[str, object], field: str, code: str
    ) -> None:
        problem = trader.call("POST", f"/accounts/{account}/orders", 422, {**BUY, **change}, key="k")
        assert (problem["code"], problem["errors"][0]["field"]) == (code, field)
        assert terminal.sent == []
        assert orders(trader, account) == []


class TestClosing:
    def test_a_position_is_closed_by_the_opposite_deal(
        self, trader: Trader, account: str, terminal: FakeTerminal
    ) -> None:
        terminal.open_position(31)
        order = trader.call("POST", f"/accounts/{account}/positions/31/close", 201, key="k")
        assert (order["kind"], order["side"], order["position_ticket"]) == ("close", "sell", 31)
        sent = terminal.sent[0][1]
        assert (sent["position"], sent["volume"], sent["type"], sent["magic"]) == (31, 0.1, 1, 5)

    def test_not_more_than_it_has(self, trader: Trader, account: str, terminal: FakeTerminal) -> None:
        terminal.open_position(31)
        problem = trader.call("POST", f"/accounts/{account}/positions/31/close", 422, {"volume": 0.2}, key="k")
        assert problem["errors"][0]["field"] == "volume"

    def test_the_whole_of_a_position_can_always_be_closed(
        self, trader: Trader, account: str, terminal: FakeTerminal
    ) -> None:
        terminal.open_position(31, volume=0.005)
        trader.call("POST", f"/accounts/{account}/positions/31/close", 201, key="k")
        assert terminal.sent[0][1]["volume"] == 0.005

    def test_a_repetition_that_the_first_attempt_overtook_gives_its_order(
        self, world: World, trader: Trader, account: str, terminal: FakeTerminal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        terminal.open_position(31)
        first: list[dict[str, object]] = []
        session = world.door.session

        @contextmanager
        def after_the_first(target: Target, scope: Scope, principal: str) -> Iterator[TerminalSession]:
            if not first:
                first.append({})
                first[0] = trader.call("POST", f"/accounts/{account}/positions/31/close", 201, key="k")
                terminal.positions.clear()
            with session(target, scope, principal) as opened:
                yield opened

        monkeypatch.setattr(world.door, "session", after_the_first)
        repeated = trader.call("POST", f"/accounts/{account}/positions/31/close", 201, key="k")
        assert repeated["id"] == first[0]["id"]
        assert len(terminal.sent) == 1

    def test_a_position_that_is_gone_is_not_found(self, trader: Trader, account: str, terminal: FakeTerminal) -> None:
        problem = trader.call("POST", f"/accounts/{account}/positions/31/close", 404, key="k")
        assert problem["code"] == "position_not_found"


def test_a_terminal_that_is_not_ready_takes_no_orders(world: World, trader: Trader, node: NodePlayer) -> None:
    account = trader.connect()
    problem = trader.call("POST", f"/accounts/{account['id']}/orders", 409, BUY, key="k")
    assert (problem["code"], problem["retryable"]) == ("terminal_not_ready", True)


def test_orders_of_bots_are_listed_with_what_they_did(
    trader: Trader, node: NodePlayer, ready: tuple[str, DesiredTerminal]
) -> None:
    account, wanted = ready
    body = order_body("bot-order-1", "done", retcode=10009, deal=42)
    node.deliver(event(wanted, "o1", body), event(wanted, "d1", deal_body(42, entry=1)))
    assert [(each["kind"], each["principal"], each["state"]) for each in orders(trader, account)] == [
        ("close", "bot:bot_1", "done")
    ]


def test_orders_come_in_pages(trader: Trader, node: NodePlayer, ready: tuple[str, DesiredTerminal]) -> None:
    account, wanted = ready
    node.deliver(*(event(wanted, f"o{number}", order_body(f"c{number}", "done")) for number in range(5)))
    seen: list[str] = []
    cursor = ""
    while True:
        page = trader.call("GET", f"/accounts/{account}/orders?limit=2{cursor}")
        seen += [each["id"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(seen) == len(set(seen)) == 5


def order_body(client_order_id: str, state: str, retcode: int = 0, deal: int = 0) -> OrderBody:
    return OrderBody.model_validate(
        {
            "client_order_id": client_order_id,
            "principal": "bot:bot_1",
            "state": state,
            "retcode": retcode,
            "order": 900,
            "deal": deal,
            "symbol": "EURUSD",
            "type": 0,
            "volume": 0.1,
            "price": 1.1,
            "comment": "",
        }
    )
