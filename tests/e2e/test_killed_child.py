"""kill -9 of any one process of the farm: it is whole again within 30 s, and nothing is lost or doubled in the end."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator

import pytest

from tests.demo_farm import HISTORY, DemoFarm, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROLES = ["control plane", "agent", "gateway", "worker", "terminal", "bot", "broker"]
SEED = random.SystemRandom().randrange(2**32)


@pytest.fixture(scope="module")
def farm() -> Iterator[DemoFarm]:
    market = ["--history", str(HISTORY), "--symbols", "EURUSD,GBPUSD"] if HISTORY.exists() else []
    farm = DemoFarm(*market, "--speed", "300", "--for", "600", "--json")
    try:
        farm.wait_up()
        yield farm
    finally:
        farm.stop()


@pytest.mark.parametrize("role", ROLES)
def test_the_farm_is_whole_again(farm: DemoFarm, role: str) -> None:
    wait_for(farm.whole, 30, farm.said)
    victims = [row["pid"] for row in farm.processes(role)]
    print(f"seed {SEED}, {role} pids {victims}")
    victim = random.Random(SEED).choice(victims)
    before = farm.recorded_trades()
    os.kill(victim, signal.SIGKILL)
    took = wait_for(lambda: victim not in [row["pid"] for row in farm.processes(role)] and farm.whole(), 30, farm.said)
    print(f"{role}: whole again after {took:.1f} s")
    wait_for(lambda: farm.recorded_trades() > before, 60, farm.said)


def test_nothing_is_lost_or_doubled_after_all_of_these(farm: DemoFarm) -> None:
    counted = farm.finish()
    assert farm.process.returncode == 0, farm.said()
    assert (counted["lost"], counted["duplicated"], counted["errors"]) == (0, 0, [])
    assert counted["deals_recorded"] == counted["deals_broker"] >= 20
    assert farm.processes() == []
