"""Limits against the simulated broker: several clients at once, workers that are killed, links that break."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from subprocess import Popen
from typing import Any

import pytest

from mt5_bridge.auth import AGENT
from mt5_bridge.client import BridgeError, BridgeLost, MetaTrader5
from tests.bridge_doubles import TOKEN

LIMITS = {"max_positions": 5, "max_open_volume": 0.8, "max_orders": 2, "max_symbols": 2, "max_volume": 0.4}
SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY")
LOST = (BridgeError, BridgeLost, OSError)


class GuardedAccount:
    """A worker process over a terminal of the stage."""

    def __init__(self, stage: Any, guard: dict[str, Any]) -> None:
        stage.broker("--speed", "60", "--symbols", ",".join(SYMBOLS))
        stage.admin.create_account(5001, password="secret-pw")
        stage.terminal()
        self.stage = stage
        self.process: Popen[str] | None = None
        (stage.folder / "token").write_text(TOKEN)
        self.configure_file(guard)
        self.start()

    def configure_file(self, guard: dict[str, Any]) -> None:
        folder = self.stage.folder
        config = {
            "terminal_id": "ter_1",
            "epoch": 1,
            "listen": f"unix:{folder}/w",
            "backend": "simulated",
            "backend_options": {"ipc": self.stage.ipc()},
            "login": 5001,
            "server": "MT5Farm-Demo",
            "journal": str(folder / "journal"),
            "token_file": str(folder / "token"),
            "guard": guard,
            "log_file": str(folder / "worker.log"),
        }
        (folder / "worker.json").write_text(json.dumps(config))

    def start(self) -> None:
        (self.stage.folder / "w").unlink(missing_ok=True)
        self.process = self.stage.run("mt5_bridge.worker", "--config", str(self.stage.folder / "worker.json"))
        self.stage.until(self.connected)

    def kill_worker(self) -> None:
        assert self.process is not None
        self.stage.kill(self.process)

    def client(self, principal: str = "user:usr_1") -> MetaTrader5:
        return MetaTrader5(f"unix:{self.stage.folder}/w", token=TOKEN, scope="trade", epoch=1, principal=principal)

    def connected(self) -> bool:
        try:
            with self.client() as api:
                return bool(api.describe()["connected"])
        except LOST:
            return False

    def told(self) -> dict[str, Any]:
        try:
            with self.client(AGENT) as api:
                return dict(api.pulse(0)["guard"] or {})
        except LOST:
            return {}

    def configure(self, guard: dict[str, Any]) -> None:
        """As the agent does: on disk first."""
        self.configure_file(guard)
        with self.client(AGENT) as api:
            api.configure({"guard": guard})

    def trade(self, seed: int, until: threading.Event) -> None:
        """One client that sends whatever comes to its mind, and looks past what is refused or lost."""
        choose = random.Random(seed)
        while not until.is_set():
            with contextlib.suppress(*LOST), self.client(f"user:{seed}") as api:
                while not until.is_set():
                    self._one(api, choose)

    @staticmethod
    def _one(api: MetaTrader5, choose: random.Random) -> None:
        positions = api.positions_get() or ()
        symbol = choose.choice(SYMBOLS)
        tick = api.symbol_info_tick(symbol)
        request: dict[str, Any] = {"action": 1, "symbol": symbol, "type": choose.randint(0, 1)}
        request["volume"] = choose.randint(1, 50) / 100
        if choose.random() < 0.2:
            request |= {"action": 5, "type": 2, "price": round(tick.bid * 0.9, 3)}
        elif positions and choose.random() < 0.3:
            mine = choose.choice(positions)
            request |= {"symbol": mine.symbol, "position": mine.ticket, "type": 1 - mine.type, "volume": mine.volume}
        with contextlib.suppress(BridgeError):
            api.order_send(request)


def test_no_clients_at_once_exceed_the_limits_over_kills_of_the_worker_and_lost_answers(stage: Any) -> None:
    account = GuardedAccount(stage, LIMITS)
    watch = stage.backend()
    assert watch.call("initialize", (), {})
    end, seen = threading.Event(), set()
    clients = [threading.Thread(target=account.trade, args=(seed, end)) for seed in range(4)]
    for each in clients:
        each.start()

    def look() -> None:
        # One answer after the other: an order that triggers in between would be counted in neither or in both.
        positions, orders = watch.call("positions_get", (), {}) or (), watch.call("orders_get", (), {}) or ()
        tickets = {each.ticket for each in (*positions, *orders)}
        assert len(tickets) <= LIMITS["max_positions"]
        assert sum(each.volume for each in positions) <= LIMITS["max_open_volume"] + 1e-9
        assert len({each.symbol for each in positions}) <= LIMITS["max_symbols"]
        assert len(orders) <= LIMITS["max_orders"]
        seen.update(tickets)

    def more(count: int) -> bool:
        look()
        return len(seen) >= count

    try:
        for turn in range(1, 4):
            stage.until(lambda turn=turn: more(turn * 12))
            stage.admin.add_fault("lost_answer", function="order_send")
            account.kill_worker()
            account.start()
        look()
    finally:
        end.set()
        for each in clients:
            each.join(20)


@pytest.mark.parametrize("harm", ["broker link", "worker", "terminal"])
def test_the_kill_switch_ends_at_zero_whatever_breaks_in_the_middle(stage: Any, harm: str) -> None:
    account = GuardedAccount(stage, {})
    with account.client() as api:
        for symbol in SYMBOLS * 2:
            assert api.order_send({"action": 1, "symbol": symbol, "volume": 0.1, "type": 0}).retcode == 10009
        waiting = {"action": 5, "symbol": "EURUSD", "volume": 0.1, "type": 2, "price": 0.9}
        assert api.order_send(waiting).retcode == 10009
    stage.admin.add_fault("lost_answer", function="order_send")
    account.configure({"kill": "close_all", "kill_id": "k1"})
    match harm:
        case "broker link":
            stage.admin.disconnect(5001, 1.0)
        case "worker":
            account.kill_worker()
            account.start()
        case "terminal":
            stage.kill(stage._processes[1])
            (stage.folder / "t1.sock").unlink(missing_ok=True)
            stage.terminal()
    stage.until(lambda: account.told().get("flat"))
    assert account.told()["kill_id"] == "k1"
    watch = stage.backend()
    assert watch.call("initialize", (), {})
    assert watch.call("positions_get", (), {}) == ()
    assert watch.call("orders_get", (), {}) == ()


def test_what_is_opened_by_hand_inside_the_terminal_is_closed_while_the_switch_is_on(stage: Any) -> None:
    account = GuardedAccount(stage, {"kill": "close_all", "kill_id": "k1"})
    stage.until(lambda: account.told().get("flat"))
    stage.admin.trade(5001, action=1, symbol="EURUSD", volume=0.1, type=0)
    stage.until(lambda: any(deal.entry == 1 for deal in stage.admin.deals(5001)))
    stage.until(lambda: account.told().get("flat"))


def test_a_loss_that_grows_while_nobody_trades_trips_and_closes(stage: Any) -> None:
    account = GuardedAccount(stage, {})
    with account.client() as api:
        for _ in range(2):
            assert api.order_send({"action": 1, "symbol": "EURUSD", "volume": 1.0, "type": 0}).retcode == 10009
    # The spread alone costs more than that once the day's base is the balance.
    account.configure({"daily_loss": {"value": 5.0}, "day_base": "balance", "on_breach": "close_all"})
    stage.until(lambda: account.told().get("trips"))
    stage.until(lambda: account.told().get("flat"))
    with account.client() as api, pytest.raises(BridgeError) as refusal:
        api.order_send({"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0})
    assert refusal.value.code == "guard_daily_loss"


def test_deposits_credit_and_withdrawals_are_no_gain_and_no_loss(stage: Any) -> None:
    account = GuardedAccount(stage, {"daily_loss": {"value": 500.0}, "drawdown": {"value": 10.0, "percent": True}})
    stage.until(lambda: account.told().get("ledger"))
    begun = account.told()
    with account.client() as api:
        assert api.order_send({"action": 1, "symbol": "EURUSD", "volume": 0.01, "type": 0}).retcode == 10009
        stage.admin.book_money(5001, 50_000.0)
        stage.admin.book_money(5001, 700.0, credit=True)
        stage.until(lambda: account.told()["day_base"] == begun["day_base"] + 50_700)
        stage.admin.book_money(5001, -55_000.0)
        stage.until(lambda: account.told()["day_base"] == begun["day_base"] - 4_300)
        assert api.order_send({"action": 1, "symbol": "EURUSD", "volume": 0.01, "type": 0}).retcode == 10009
    told = account.told()
    assert not told["trips"]
    assert all(abs(each["figure"]) < 50 for each in told["losses"])
