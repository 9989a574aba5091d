"""The log of an account beside its broker's book: differences are found once, healed where that is safe, and shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deployments import Deployment
from tests.unit.control_plane.world import (
    FakeTerminal,
    NodePlayer,
    Trader,
    World,
    as_struct,
    deal_body,
    event,
    history_order_body,
)

pytestmark = pytest.mark.both_databases
MONTH = 40 * 86_400


class Scene:
    """An account with four deals over a few months, which log and broker agree on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.trader: Trader = world.trader()
        self.node: NodePlayer = world.node()
        self.account_id, self.wanted = world.ready_account(self.trader, self.node)
        self.terminal: FakeTerminal = world.terminal(self.wanted)
        self.bodies = [
            deal_body(number, time=1_700_000_000 + number * MONTH, time_msc=(1_700_000_000 + number * MONTH) * 1000)
            for number in range(1, 5)
        ]
        self.node.deliver(*(event(self.wanted, f"evt_{each.ticket}", each) for each in self.bodies))
        self.terminal.deals = [as_struct(each) for each in self.bodies]

    def compare(self, looks: int = 2) -> None:
        for _ in range(looks):
            self.world.clock.advance(seconds=31)
            self.world.run_loops()

    def ask(self) -> dict[str, Any]:
        state: dict[str, Any] = self.trader.call("POST", f"/accounts/{self.account_id}/reconciliation", 202)
        return state

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.trader.call("GET", f"/accounts/{self.account_id}/reconciliation")
        return state

    def found(self) -> list[tuple[str, str, int, str]]:
        items = self.trader.call("GET", f"/accounts/{self.account_id}/differences")["items"]
        return sorted((each["subject"], each["kind"], each["ticket"], each["state"]) for each in items)

    def tickets(self) -> list[int]:
        items = self.trader.call("GET", f"/accounts/{self.account_id}/deals")["items"]
        return sorted(each["ticket"] for each in items)


@pytest.fixture
def scene(tmp_path: Path, deployment: Deployment) -> Iterator[Scene]:
    with deployment.world(tmp_path / "farm") as world:
        yield Scene(world)


def test_books_that_agree_cost_no_rows(scene: Scene) -> None:
    scene.compare()
    state = scene.state()
    assert (state["state"], state["deals"], state["fetched"]) == ("complete", 4, 0)
    assert scene.terminal.read_rows == 0
    assert scene.found() == []


def test_what_is_missing_here_is_recorded_after_a_second_look(scene: Scene) -> None:
    scene.terminal.deals.append(as_struct(deal_body(99)))
    scene.terminal.orders.append(as_struct(history_order_body(77)))
    scene.compare(1)
    assert scene.state()["state"] == "checking"
    assert scene.tickets() == [1, 2, 3, 4], "it may still be on its way"
    scene.compare(1)
    assert scene.tickets() == [1, 2, 3, 4, 99]
    assert scene.found() == [("deal", "missing_here", 99, "healed"), ("order", "missing_here", 77, "healed")]
    assert scene.terminal.read_rows < 2 * 5, "only periods that differ are read"


def test_what_was_on_its_way_is_no_difference(scene: Scene) -> None:
    scene.terminal.deals.append(as_struct(deal_body(99)))
    scene.compare(1)
    scene.node.deliver(event(scene.wanted, "evt_99", deal_body(99)))
    scene.compare(2)
    assert scene.found() == []
    assert scene.state()["state"] == "complete"


def test_an_edit_becomes_a_correction(scene: Scene) -> None:
    scene.terminal.deals[0] = as_struct(scene.bodies[0].model_copy(update={"swap": -2.5, "price": 1.2}))
    scene.compare()
    assert scene.found() == [("deal", "edited", 1, "healed")]
    [corrected] = [
        each for each in scene.trader.call("GET", f"/accounts/{scene.account_id}/deals")["items"] if each["ticket"] == 1
    ]
    assert (corrected["swap"], corrected["price"], corrected["corrections"]) == ("-2.50", 1.2, 1)


def test_what_cannot_be_healed_stays_open_until_it_is_gone(scene: Scene) -> None:
    hidden = scene.terminal.deals.pop()
    scene.terminal.deals.append(scene.terminal.deals[0])
    scene.terminal.balance = 123.45
    scene.compare()
    expected = [("balance", "unbalanced", 0), ("deal", "doubled", 1), ("deal", "missing_there", 4)]
    assert scene.found() == [(*each, "open") for each in expected]
    assert scene.tickets() == [1, 2, 3, 4], "not found is never read as not there"
    scene.terminal.deals[-1], scene.terminal.balance = hidden, None
    scene.ask()
    scene.compare()
    assert scene.found() == [(*each, "gone") for each in expected]


def test_a_second_comparison_is_quiet(scene: Scene) -> None:
    scene.terminal.deals.append(as_struct(deal_body(99)))
    del scene.terminal.deals[1]
    scene.compare()
    first = scene.found()
    assert len(first) == 2
    for _ in range(3):
        assert scene.ask()["state"] == "waiting"
        scene.compare()
        assert scene.found() == first
    assert scene.state()["open_differences"] == 1


def test_a_terminal_without_its_history_is_not_believed(scene: Scene) -> None:
    scene.terminal.deals = []
    scene.compare()
    assert scene.found() == []
    state = scene.state()
    assert state["state"] == "failed"
    assert "none of the account's deals" in state["problem"]
    scene.terminal.deals = [as_struct(each) for each in scene.bodies]
    scene.world.clock.advance(minutes=6)
    scene.world.run_loops()
    assert scene.state()["state"] == "complete"


def test_a_worker_older_than_digests_is_read_whole(scene: Scene) -> None:
    scene.terminal.old = True
    scene.terminal.deals.append(as_struct(deal_body(99)))
    scene.compare()
    assert scene.found() == [("deal", "missing_here", 99, "healed")]


def test_a_terminal_that_cannot_be_reached_is_tried_again(scene: Scene) -> None:
    scene.world.door.dead.add(scene.wanted.terminal_id)
    scene.compare()
    assert scene.state()["state"] == "failed"
    scene.world.door.dead.clear()
    scene.world.clock.advance(minutes=6)
    scene.world.run_loops()
    assert scene.state()["state"] == "complete"
