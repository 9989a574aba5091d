"""How long a deal takes from the broker into the log and a browser: `python -m tests.benchmarks.deal_lag`.

A demo farm with all its processes; orders are placed by hand over REST and their deals awaited on the stream of live
updates, which tells of a deal once its row is committed. A deal's time begins with the answer to its order, which comes
right after the broker has filled it; the time before that is shown beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from random import Random
from statistics import median, quantiles
from typing import Any

import httpx

from tests.demo_farm import DemoFarm, wait_for

GOAL = 1.0


class Browser:
    """Notes when it is told of which order's deal."""

    def __init__(self, farm: DemoFarm) -> None:
        self.told: dict[int, float] = {}
        self.open = threading.Event()
        self._client = httpx.Client(
            base_url=f"{farm.url}/api/v1", cookies=farm.client.cookies, timeout=httpx.Timeout(20, read=60)
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        kind = ""
        with self._client.stream("GET", "/stream") as response:
            for line in response.iter_lines():
                self.open.set()
                if line.startswith("event:"):
                    kind = line.removeprefix("event:").strip()
                elif line.startswith("data:") and kind == "deal":
                    deal = json.loads(line.removeprefix("data:"))["deal"]
                    self.told.setdefault(deal["order_ticket"], time.monotonic())


def measure(farm: DemoFarm, orders: int, random: Random) -> list[tuple[float, float]]:
    """For each order: seconds from the answer, and from the asking, to the browser."""
    account = next(
        each for each in farm.client.get("/accounts").json()["items"] if each["terminal"]["phase"] == "ready"
    )
    symbol = farm.client.get(f"/accounts/{account['id']}/symbols").json()["items"][0]["name"]
    browser = Browser(farm)
    assert browser.open.wait(20), "the stream opens"
    asked: dict[int, tuple[float, float]] = {}
    for number in range(orders):
        began = time.monotonic()
        wish: dict[str, Any] = {"symbol": symbol, "side": ("buy", "sell")[number % 2], "volume": 0.01}
        key = f"lag-{number}-{began}"
        answer = farm.client.post(f"/accounts/{account['id']}/orders", json=wish, headers={"Idempotency-Key": key})
        order = answer.raise_for_status().json()
        if order["state"] == "done":
            asked[order["order_ticket"]] = began, time.monotonic()
        time.sleep(random.uniform(0.2, 1.2))  # so that orders fall anywhere between two looks of the agent
    wait_for(lambda: asked.keys() <= browser.told.keys(), 30)
    return [(browser.told[ticket] - done, browser.told[ticket] - began) for ticket, (began, done) in asked.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=100)
    options = parser.parse_args()
    farm = DemoFarm()
    try:
        farm.wait_up()
        wait_for(farm.whole, 90)
        lags = measure(farm, options.orders, Random(1))
    finally:
        farm.stop()
    from_answer, from_asking = ([each[place] for each in lags] for place in (0, 1))
    for name, values in (("from the broker's fill", from_answer), ("from the asking", from_asking)):
        ends = quantiles(values, n=20)
        print(f"{name:24} p50 {median(values):.2f} s, p95 {ends[18]:.2f} s, longest {max(values):.2f} s")
    met = quantiles(from_answer, n=20)[18] <= GOAL
    print(f"{len(lags)} deals, goal p95 <= {GOAL:.0f} s: {'met' if met else 'MISSED'}")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
