"""The trade log: deals with their corrections, orders of the history, positions; each told as often as it pleases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from control_plane.trading import book_rows
from node_agent.protocol.messages import DesiredTerminal
from tests.deployments import Deployment
from tests.unit.control_plane.world import (
    START,
    NodePlayer,
    Trader,
    World,
    deal_body,
    event,
    history_order_body,
    positions_body,
)

pytestmark = pytest.mark.both_databases


class Scene:
    def __init__(self, world: World) -> None:
        self.world = world
        self.trader: Trader = world.trader()
        self.node: NodePlayer = world.node()
        account_id, wanted = world.ready_account(self.trader, self.node)
        self.account_id: str = account_id
        self.wanted: DesiredTerminal = wanted
        self.sent = 0

    def tell(self, body: Any, seconds: float = 0.0, **changes: Any) -> None:
        self.sent += 1
        happened = {"occurred_at": START + timedelta(seconds=seconds), **changes}
        ack = self.node.deliver(event(self.wanted, f"evt_{self.sent}", body, **happened))
        assert ack.rejected == {}

    def swap_of(self, ticket: int) -> Decimal:
        with self.world.farm.database.read_as_system() as session:
            known = book_rows.standing(session, self.account_id, ticket)
        assert known is not None
        return known.facts.swap

    def get(self, path: str) -> Any:
        return self.trader.call("GET", f"/accounts/{self.account_id}{path}")


@pytest.fixture
def scene(tmp_path: Path, deployment: Deployment) -> Iterator[Scene]:
    with deployment.world(tmp_path / "farm") as world:
        yield Scene(world)


def test_an_edit_is_kept_beside_what_was(scene: Scene) -> None:
    scene.tell(deal_body(1, swap=0.0))
    scene.tell(deal_body(1, swap=-1.5, profit=2.0), 10)
    [shown] = scene.get("/deals")["items"]
    assert (shown["swap"], shown["profit"], shown["corrections"]) == ("-1.50", "2.00", 1)
    [correction] = scene.get("/deals/1/corrections")["items"]
    assert {name: Decimal(each) for name, each in correction["before"].items()} == {"swap": 0, "profit": 0}
    assert {name: Decimal(each) for name, each in correction["after"].items()} == {"swap": Decimal("-1.5"), "profit": 2}


def test_news_that_come_twice_or_late_correct_nothing(scene: Scene) -> None:
    first, second = deal_body(1, swap=0.0), deal_body(1, swap=-1.0)
    for body, at in ((first, 0), (second, 10), (first, 0), (second, 10), (second, 20)):
        scene.tell(body, at)
    assert scene.swap_of(1) == -1
    assert len(scene.get("/deals/1/corrections")["items"]) == 1


def test_an_edit_that_is_taken_back_is_a_correction_too(scene: Scene) -> None:
    for swap, at in ((0.0, 0), (-1.0, 10), (0.0, 20)):
        scene.tell(deal_body(1, swap=swap), at)
    assert scene.swap_of(1) == 0
    assert [each["number"] for each in scene.get("/deals/1/corrections")["items"]] == [1, 2]


def test_every_kind_of_balance_operation_has_its_name(scene: Scene) -> None:
    for number, kind in enumerate((2, 3, 4, 5, 6, 7, 12, 17), start=1):
        scene.tell(deal_body(number, type=kind, symbol="", volume=0.0, price=0.0, profit=1.0))
    shown = {deal["ticket"]: (deal["type"], deal["operation"]) for deal in scene.get("/deals")["items"]}
    assert [operation for _, (_, operation) in sorted(shown.items())] == [
        "balance", "credit", "charge", "correction", "bonus", "commission", "interest", "tax",
    ]  # fmt: skip
    assert shown[3][0] == "other", "what clients of the first version of the contract know"


def test_orders_of_the_history_are_listed_once(scene: Scene) -> None:
    for _ in range(2):
        scene.tell(history_order_body(7, type=2, state=2, position_id=0, volume_initial=0.3))
        scene.tell(history_order_body(8, type=0, state=4, position_id=5, reason=0))
    shown = scene.get("/history-orders")["items"]
    assert [(each["ticket"], each["type"], each["state"]) for each in shown] == [
        (8, "buy", "filled"),
        (7, "buy_limit", "canceled"),
    ]
    assert [each["ticket"] for each in scene.get("/history-orders?position_ticket=5")["items"]] == [8]
    page = scene.get("/history-orders?limit=1")
    rest = scene.get(f"/history-orders?limit=1&cursor={page['next_cursor']}")
    assert [each["ticket"] for each in page["items"] + rest["items"]] == [8, 7]


def test_positions_are_shown_as_last_seen(scene: Scene) -> None:
    assert scene.get("/positions/last-seen") == {"seen_at": None, "items": []}
    scene.tell(positions_body(5, 6), 10)
    scene.tell(positions_body(5), 5)
    shown = scene.get("/positions/last-seen")
    assert [each["ticket"] for each in shown["items"]] == [5, 6]
    scene.tell(positions_body(), 20)
    assert scene.get("/positions/last-seen")["items"] == []
