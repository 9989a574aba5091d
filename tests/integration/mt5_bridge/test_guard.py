"""The guard in a running worker: it watches between calls, closes what has to be closed, and forgets nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mt5_bridge.auth import AGENT
from mt5_bridge.client import BridgeError, MetaTrader5
from tests.bridge_doubles import TOKEN, RunningWorker, StubBackend, eventually, running_worker, struct

BUY = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "price": 1.1}
DAILY = {"daily_loss": {"value": 500.0}}
CLOSING = DAILY | {"on_breach": "close_all"}


class Account(StubBackend):
    """A stub whose equity the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.balance = self.equity = 10_000.0

    def _account_info(self) -> Any:
        return struct(
            "AccountInfo",
            login=self.login,
            server="MT5Farm-Demo",
            balance=self.balance,
            equity=self.equity,
            margin_mode=2,
        )

    def _positions_total(self) -> int:
        return len(self.positions)

    def _orders_total(self) -> int:
        return len(self.orders)

    def _history_deals_total(self, *dates: int) -> int:
        del dates
        return len(self.deals)

    def _symbols_get(self) -> Any:
        return ()

    def _order_send(self, request: dict[str, Any]) -> Any:
        if request["action"] == 8:
            self.sent.append(request)
            self.orders = [order for order in self.orders if order.ticket != request["order"]]
            return self.answer(10009, order=request["order"])
        return super()._order_send(request)

    def pay(self, amount: float, *, told: bool = True) -> None:
        """Money is paid in or, below 0, taken out; the deal of it may come later (`tell`)."""
        if told:
            self.tell(amount)
        self.balance += amount
        self.equity += amount

    def tell(self, amount: float) -> None:
        self.next_ticket += 1
        ticket = self.next_ticket + 5000
        self.deals.append(struct("TradeDeal", ticket=ticket, type=2, profit=amount, time=self.broker_time))

    def move(self, ticket: int = 77, volume: float = 0.3) -> None:
        """Somebody trades inside the terminal."""
        self.positions.append(struct("TradePosition", ticket=ticket, symbol="EURUSD", volume=volume, type=0))


@contextmanager
def client(worker: RunningWorker, principal: str = "user:usr_1") -> Iterator[MetaTrader5]:
    made = MetaTrader5(worker.address, token=TOKEN, scope="trade", epoch=7, principal=principal)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def agent(worker: RunningWorker) -> Iterator[MetaTrader5]:
    with client(worker, AGENT) as made:
        eventually(lambda: made.pulse(0)["linked"])
        yield made


def refused(mt5: MetaTrader5, request: dict[str, Any]) -> str:
    with pytest.raises(BridgeError) as refusal:
        mt5.order_send(request)
    return str(refusal.value.code)


def told(mt5: MetaTrader5) -> dict[str, Any]:
    return dict(mt5.pulse(0)["guard"] or {})


def test_a_loss_trips_between_orders_and_stays_tripped_over_a_restart() -> None:
    backend = Account()
    with running_worker(backend, guard=DAILY) as worker:
        with agent(worker) as farm:
            eventually(lambda: told(farm).get("day_base") == 10_000)
            backend.equity = 9_400.0
            eventually(lambda: told(farm)["trips"])
            backend.equity = 10_000.0
        folder = worker.folder
        worker.stop()
        again = RunningWorker(backend, folder, guard=DAILY)
        again.start()
        with agent(again) as farm, client(again) as mt5:
            assert refused(mt5, BUY) == "guard_daily_loss"
            assert not backend.sent
            farm.configure({"guard": DAILY | {"rearm_id": "arm_1"}})
            assert mt5.order_send(BUY).retcode == 10009
            backend.equity = 9_500.0
            assert refused(mt5, BUY) == "guard_daily_loss"
            farm.configure({"guard": DAILY | {"rearm_id": "arm_1"}})
            assert refused(mt5, BUY) == "guard_daily_loss", "a re-arming that was carried out is not repeated"
        again.stop()


def test_a_withdrawal_trips_nothing_also_while_its_deal_is_late_or_the_worker_was_dead() -> None:
    backend = Account()
    with running_worker(backend, guard=DAILY) as worker:
        with agent(worker) as farm, client(worker) as mt5:
            eventually(lambda: told(farm).get("ledger"))
            backend.pay(-4_000.0, told=False)
            eventually(lambda: told(farm)["equity"] == 6_000)
            assert told(farm)["day_base"] == 10_000, "it is not known yet whether the money was lost"
            assert mt5.order_send(BUY).retcode == 10009
            backend.tell(-4_000.0)
            eventually(lambda: told(farm)["day_base"] == 6_000)
            assert not told(farm)["trips"]
        worker.stop()
        backend.pay(-2_000.0)
        again = RunningWorker(backend, worker.folder, guard=DAILY)
        again.start()
        with agent(again) as farm:
            eventually(lambda: told(farm).get("day_base") == 4_000)
            assert not told(farm)["trips"]
            backend.equity = 3_500.0
            eventually(lambda: told(farm)["trips"])
        again.stop()


def test_a_loss_that_no_deal_explains_trips_once_the_deal_has_had_time_to_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mt5_bridge.trading._PUZZLED_SECONDS", 3.5)
    backend = Account()
    with running_worker(backend, guard=DAILY) as worker, agent(worker) as farm:
        eventually(lambda: told(farm).get("ledger"))
        backend.pay(-600.0, told=False)
        eventually(lambda: told(farm)["trips"])


def test_what_an_expert_advisor_opens_after_the_trip_is_closed_as_often_as_it_appears() -> None:
    backend = Account()
    with running_worker(backend, guard=CLOSING) as worker, agent(worker) as farm:
        eventually(lambda: told(farm).get("day_base") == 10_000)
        backend.move()
        backend.orders.append(struct("TradeOrder", ticket=88, symbol="EURUSD", type=2, volume_current=0.1))
        backend.equity = 9_000.0
        eventually(lambda: told(farm)["flat"])
        assert not backend.positions
        assert not backend.orders
        backend.move(ticket=78)
        eventually(lambda: not backend.positions)
        assert {entry["principal"] for entry in farm.journal(0, 100)} == {"guard"}


def test_the_kill_switch_closes_everything_although_the_broker_refuses_at_first() -> None:
    backend = Account()
    answers = [10018, 10004]

    def send(request: dict[str, Any]) -> Any:
        return backend.answer(answers.pop(), "no") if answers else backend.fill(request)

    backend.on_send = send
    backend.move()
    with running_worker(backend) as worker, agent(worker) as farm, client(worker) as mt5:
        assert told(farm) == {}
        farm.configure({"guard": {"kill": "close_all", "kill_id": "k1"}})
        assert refused(mt5, BUY) == "guard_kill"
        eventually(lambda: told(farm)["closing_problem"])
        assert not told(farm)["flat"]
        eventually(lambda: told(farm)["flat"])
        assert told(farm)["kill_id"] == "k1"
        assert not answers
        farm.configure({"guard": {}})
        assert mt5.order_send(BUY).retcode == 10009


def test_nothing_new_leaves_positions_and_removes_what_waits() -> None:
    backend = Account()
    backend.move()
    backend.orders.append(struct("TradeOrder", ticket=88, symbol="EURUSD", type=2, volume_current=0.1))
    with running_worker(backend, guard={"kill": "no_new_orders", "kill_id": "k"}) as worker, agent(worker) as farm:
        eventually(lambda: told(farm).get("orders") == 0)
        assert len(backend.positions) == 1
        with client(worker) as mt5:
            close = BUY | {"type": 1, "position": 77, "volume": 0.3}
            assert mt5.order_send(close).retcode == 10009


def test_a_terminal_that_cannot_be_asked_is_never_called_flat() -> None:
    backend = Account()
    backend.connected = False
    with running_worker(backend, guard={"kill": "close_all", "kill_id": "k"}) as worker, agent(worker) as farm:
        eventually(lambda: told(farm).get("positions", 0) is None)
        assert not told(farm)["flat"]
        backend.connected = True
        eventually(lambda: told(farm)["positions"] == 0)
        assert not told(farm)["flat"], "a terminal that has just connected may not know its positions yet"
        eventually(lambda: told(farm)["flat"])


@pytest.mark.parametrize("harm", ["gone", "damaged", "empty"])
def test_a_memory_that_is_lost_lets_nothing_be_opened_until_a_person_re_arms(harm: str) -> None:
    backend = Account()
    with running_worker(backend, guard=DAILY) as worker:
        with agent(worker) as farm:
            eventually(lambda: told(farm).get("day_base") == 10_000)
        worker.stop()
        spoil(worker.folder / "guard.json", harm)
        again = RunningWorker(backend, worker.folder, guard=DAILY)
        again.start()
        with agent(again) as farm, client(again) as mt5:
            assert refused(mt5, BUY) == "guard_state"
            assert told(farm)["problem"]
            farm.configure({"guard": DAILY | {"rearm_id": "arm_1"}})
            assert mt5.order_send(BUY).retcode == 10009
        again.stop()


def spoil(path: Path, harm: str) -> None:
    text = path.read_text()
    if harm == "gone":
        path.unlink()
    else:
        path.write_text(text.replace("10000", "90000") if harm == "damaged" else "")


def test_a_new_folder_takes_over_what_the_farm_remembers() -> None:
    trips = [{"switch": "drawdown", "at": 1.0, "figure": 9.0, "limit": 8.0}]
    memory = {"day": 1, "day_base": 1.0, "day_since": 0.0, "start": 1.0, "peak": 1.0, "trips": trips, "rearm_id": ""}
    backend = Account()
    with running_worker(backend, guard=DAILY) as first:
        first.stop()
        (first.folder / "journal.sqlite3").unlink()
        (first.folder / "guard.json").unlink(missing_ok=True)
        config = json.loads(first.config_file.read_text()) | {"guard_memory": memory}
        second = RunningWorker(backend, first.folder, guard=DAILY, more=config)
        second.start()
        with agent(second), client(second) as mt5:
            assert refused(mt5, BUY) == "guard_drawdown"
        second.stop()


def test_orders_of_the_last_minute_count_after_a_restart() -> None:
    backend, guard = Account(), {"orders_per_minute": 2}
    with running_worker(backend, guard=guard) as worker:
        with agent(worker), client(worker) as mt5:
            assert mt5.order_send(BUY).retcode == 10009
            assert mt5.order_send(BUY).retcode == 10009
            assert refused(mt5, BUY) == "guard_pace"
        worker.stop()
        again = RunningWorker(backend, worker.folder, guard=guard)
        again.start()
        with agent(again), client(again) as mt5:
            assert refused(mt5, BUY) == "guard_pace"
        again.stop()


def test_an_order_whose_answer_was_lost_counts_as_open() -> None:
    backend = Account()
    backend.on_send = lambda request: backend.answer(10012, "Request timed out")
    with running_worker(backend, guard={"max_positions": 1}) as worker, agent(worker), client(worker) as mt5:
        assert mt5.order_send(BUY).retcode == 10012
        assert refused(mt5, BUY) == "guard_positions"
