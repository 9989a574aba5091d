"""Orders through a faulty link: each happens once, or certainly not at all, and the worker finds out which."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mt5_bridge.simulated.admin import BrokerAdmin
from tests.bridge_doubles import eventually
from tests.orders.account import PASSWORD, AccountLine
from tests.orders.faults import Fault, FaultPlan
from tests.orders.run import Broker, describe, run

ORDERS, SCALE = 200, 6.0
BUY = {"action": 1, "symbol": "EURUSD", "volume": 0.01, "type": 0, "magic": 7}


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as name:
        yield Path(name)


def where(fault: Fault) -> str:
    """The place of a fault. Each is expected at least seven times in this test."""
    return fault.value.split()[0]


@pytest.mark.timeout(240)
def test_every_order_happens_once_whatever_is_cut_lost_or_killed(folder: Path) -> None:
    seed = time.time_ns() % 1_000_000
    report = run(ORDERS, seed=seed, accounts=2, scale=SCALE, folder=folder, broker_kills=1)
    print(f"seed {seed}\n{describe(report)}")
    assert report.verdict.wishes == ORDERS
    assert report.verdict.sound, f"seed {seed}\n{describe(report)}"
    assert {"client:", "gateway:", "worker", "terminal:", "broker:"} <= {where(fault) for fault in report.happened}


@pytest.mark.timeout(120)
def test_an_order_that_reaches_its_broker_late_is_not_called_not_executed(folder: Path) -> None:
    broker = Broker(folder / "broker")
    admin = BrokerAdmin(broker.address, broker.admin_token)
    login = admin.create_account(password=PASSWORD)
    (folder / "a").mkdir()
    plan = FaultPlan(0, {Fault.BROKER_SLOW: 1.0})
    line = AccountLine(folder / "a", login, broker.address, plan)
    try:
        eventually(line.connected, 30)
        plan.on = True
        with line.client() as api:
            assert api.send_once("a", BUY) is None  # the link broke, and the request is still on its way
            plan.on = False
            eventually(lambda: (api.outcome("a") or {})["state"] not in {"sent", "unknown"}, 60)
            assert (api.outcome("a") or {})["state"] == "done"
        assert len([deal for deal in admin.deals(login) if deal.type == 0]) == 1
    finally:
        line.close()
        broker.kill()
