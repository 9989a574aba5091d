"""How long it takes until a follower has what its leader did, on a whole farm with simulated terminals.

    python -m tests.benchmarks.copy_lag --rounds 20

Starts a demo on this machine, lets one account follow another, and opens and closes positions of the leader.
"""

from __future__ import annotations

import argparse
import json
import time
import uuid
from functools import partial
from statistics import median
from typing import Any

from tests.demo_farm import DemoFarm, wait_for

_SYMBOL = "EURUSD"


def measure(farm: DemoFarm, rounds: int) -> dict[str, Any]:
    """Opens and closes at the leader; seconds until the follower shows it, and what the farm itself has measured."""
    http = farm.client
    accounts = http.get("/accounts").json()["items"]
    leader, follower = accounts[0]["id"], accounts[1]["id"]
    rules = {"scaling": "multiplier", "value": "1", "most_positions": 200, "symbols": [_SYMBOL]}
    wish = {"leader_account_id": leader, "follower_account_id": follower, "rules": rules}
    answer = http.post("/copiers", json=wish)
    assert answer.status_code == 201, answer.text
    copier = answer.json()["id"]
    # What the leader holds before the first look counts as held at the start.
    wait_for(lambda: bool(http.get(f"/copiers/{copier}").json()["started"]), 30)
    opened, closed = [], []
    for _ in range(rounds):
        order = _trade(farm, f"/accounts/{leader}/orders", {"symbol": _SYMBOL, "side": "buy", "volume": 0.03})
        ticket = order["order_ticket"]
        began = time.monotonic()
        wait_for(partial(_is, farm, copier, ticket, "open"), 30)
        opened.append(time.monotonic() - began)
        _trade(farm, f"/accounts/{leader}/positions/{ticket}/close", {})
        began = time.monotonic()
        wait_for(partial(_is, farm, copier, ticket, "closed"), 30)
        closed.append(time.monotonic() - began)
    trades = http.get(f"/copiers/{copier}/trades", params={"limit": 500}).json()["items"]
    lags = [each["lag_ms"] for each in trades if each["kind"] == "open" and each["lag_ms"] is not None]
    slippages = [each["slippage_points"] for each in trades if each["kind"] == "open"]
    left = http.get(f"/accounts/{follower}/positions").json()["items"]
    return {
        "rounds": rounds,
        "orders": len(trades),
        "orders_not_done": sum(each["state"] != "done" for each in trades),
        "copies_left_open": sum(each["comment"].startswith("copy ") for each in left),
        "seen_open_after_seconds": _spread(opened),
        "seen_closed_after_seconds": _spread(closed),
        "lag_ms_by_the_farm": _spread(lags),
        "slippage_points": _spread(slippages),
    }


def _trade(farm: DemoFarm, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = farm.client.post(path, json=body, headers={"Idempotency-Key": uuid.uuid4().hex})
    assert answer.status_code in {200, 201}, answer.text
    order: dict[str, Any] = answer.json()
    assert order["state"] == "done", order
    return order


def _is(farm: DemoFarm, copier: str, ticket: int, wanted: str) -> bool:
    items = farm.client.get(f"/copiers/{copier}/positions").json()["items"]
    return any(each["leader_ticket"] == ticket and each["state"] == wanted for each in items)


def _spread(figures: list[float]) -> dict[str, float]:
    ordered = sorted(figures)
    return {
        "median": round(median(ordered), 3),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 3),
        "most": round(ordered[-1], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    farm = DemoFarm()
    try:
        farm.wait_up()
        wait_for(farm.whole, 90, farm.said)
        print(json.dumps(measure(farm, rounds), indent=2))
    finally:
        farm.stop()


if __name__ == "__main__":
    main()
