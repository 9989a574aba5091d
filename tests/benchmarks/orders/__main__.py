"""Orders over REST beside the same orders through mt5linux's protocol: `python -m tests.benchmarks.orders`.

Both go to the same simulated terminal of one farm on this machine, in rounds that take turns. Over REST an order is
checked, written down by the control plane and by the bridge, sent through the node's gateway (TLS) and settled; by
mt5linux's protocol (RPyC's classic mode, without TLS) it is asked for a price and sent, with nothing written down.
The processor time of an order over REST says what it costs on a machine that has other work as well.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import httpx
import psutil

from tests.orders.faults import FaultPlan
from tests.orders.rest_farm import RestFarm

SYMBOL = "EURUSD"
GOALS_MS = (6.0, 25.0)
"""p50 and p99 of an order over REST."""


class DirectFarm(RestFarm):
    """No proxy between control plane and gateway, which would cost time."""

    def _gateway_options(self, port: int) -> list[str]:
        return ["--gateway-listen", f"127.0.0.1:{port}"]


class Rest:
    """One client of the REST API, on one connection."""

    def __init__(self, farm: RestFarm, account_id: str) -> None:
        headers = {"Origin": farm.url}
        self._http = httpx.Client(base_url=f"{farm.url}/api/v1/accounts/{account_id}", headers=headers, timeout=20.0)
        self._http.cookies.update(farm.client._http.cookies)
        self._count = 0

    def order(self, side: str) -> None:
        self._count += 1
        body = {"symbol": SYMBOL, "side": side, "volume": 0.01}
        answer = self._http.post("/orders", json=body, headers={"Idempotency-Key": f"bench-{self._count}"})
        if answer.status_code != httpx.codes.CREATED or answer.json()["state"] != "done":
            raise RuntimeError(f"{answer.status_code}: {answer.text[:300]}")

    def close(self) -> None:
        """All positions, so that those of a round do not burden the next."""
        self._count += 1
        self._http.post("/positions/close-all", json={}, headers={"Idempotency-Key": f"close-{self._count}"})


class Plain:
    """One client of mt5linux's protocol: the call as source text, the result fetched by reference."""

    def __init__(self, port: int, ipc: str) -> None:
        import rpyc

        self._connection = rpyc.classic.connect("127.0.0.1", port)
        self._obtain = rpyc.classic.obtain
        self._connection.execute(f"from tests.benchmarks.orders.plain import PlainModule; mt5 = PlainModule({ipc!r})")

    def order(self, side: str) -> None:
        tick = self._obtain(self._connection.eval(f"mt5.symbol_info_tick({SYMBOL!r})"))
        request = {
            "action": 1,
            "symbol": SYMBOL,
            "volume": 0.01,
            "type": 0 if side == "buy" else 1,
            "price": tick.ask if side == "buy" else tick.bid,
            "deviation": 20,
            "type_time": 0,
            "type_filling": 0,
        }
        result = self._obtain(self._connection.eval(f"mt5.order_send({request!r})"))
        if result is None or result.retcode != 10009:
            raise RuntimeError(f"not done: {result}")


class Processors:
    """Processor time that the farm's processes have used, each with all its threads, while somebody measures."""

    def __init__(self, farm: RestFarm) -> None:
        pids = {name: service.pid for name, service in farm.services.items()}
        pids |= {"agent": farm.nodes[0].agent.pid} | {row["role"]: row["pid"] for row in farm.nodes[0].processes()}
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self.used = dict.fromkeys(self._processes, 0.0)
        """Seconds."""

    @contextmanager
    def measuring(self) -> Iterator[None]:
        before = self._times()
        yield
        for name, seconds in self._times().items():
            self.used[name] += seconds - before[name]

    def _times(self) -> dict[str, float]:
        return {name: sum(each.cpu_times()[:2]) for name, each in self._processes.items()}


def ipc_of(farm: RestFarm) -> str:
    """Where the terminal of the farm's only account listens."""
    file = next((farm.nodes[0].folder / "terminals").glob("*/worker.json"))
    return str(json.loads(file.read_text(encoding="utf-8"))["backend_options"]["ipc"])


def times_of(order: Callable[[str], None], count: int) -> list[float]:
    """Milliseconds of each of so many orders, buying and selling in turns."""
    times = []
    for number in range(count):
        began = time.perf_counter()
        order("sell" if number % 2 else "buy")
        times.append((time.perf_counter() - began) * 1e3)
    return times


def describe(times: dict[str, list[float]]) -> str:
    lines = ["| way | orders | p50, ms | p99, ms | goal |", "|---|---|---|---|---|"]
    for way, each in times.items():
        middle, late = statistics.median(each), statistics.quantiles(each, n=100)[98]
        reached = "" if way != "REST" else verdict(middle, late)
        lines.append(f"| {way} | {len(each)} | {middle:.2f} | {late:.2f} | {reached} |")
    return "\n".join(lines)


def verdict(middle: float, late: float) -> str:
    met = middle <= GOALS_MS[0] and late <= GOALS_MS[1]
    return f"<= {GOALS_MS[0]:g} / {GOALS_MS[1]:g}: {'reached' if met else 'missed'}"


def describe_costs(used: dict[str, float], orders: int) -> str:
    each = {name: seconds * 1e3 / orders for name, seconds in used.items()}
    shown = ", ".join(f"{name} {ms:.1f}" for name, ms in sorted(each.items(), key=lambda one: -one[1]) if ms >= 0.05)
    return f"processor time of an order over REST, ms: {sum(each.values()):.1f} in all ({shown})"


def measure(folder: Path, rounds: int, count: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Milliseconds of each order by way, and seconds of processor time by process of all those over REST."""
    farm = DirectFarm(folder, FaultPlan(0, {}), 1)
    command = [sys.executable, "-m", "tests.benchmarks.orders.plain"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        rest, plain = Rest(farm, next(iter(farm.logins.values()))), Plain(int(server.stdout.readline()), ipc_of(farm))
        times: dict[str, list[float]] = {"REST": [], "mt5linux's protocol": []}
        processors = Processors(farm)
        for number in range(rounds + 1):
            with processors.measuring() if number else nullcontext():  # the first warms up
                found = {"REST": times_of(rest.order, count)}
            found["mt5linux's protocol"] = times_of(plain.order, count)
            rest.close()
            if number:
                for way, each in found.items():
                    times[way] += each
                middles = ", ".join(f"{way} {statistics.median(each):.2f} ms" for way, each in found.items())
                print(f"round {number} of {rounds}: {middles}", flush=True)
        return times, processors.used
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
        farm.close()


def main() -> int:
    """Entry point: exit code 1 when the goal is missed."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.orders", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--orders", type=int, default=100, help="of each way in a round")
    parser.add_argument("--data", type=Path, default=Path("/tmp"), help="where databases and journals are written")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and everything that was started is ended
    with tempfile.TemporaryDirectory(prefix="m5", dir=options.data, ignore_cleanup_errors=True) as folder:
        times, used = measure(Path(folder), options.rounds, options.orders)
    print(describe(times))
    print(describe_costs(used, len(times["REST"])))
    return 0 if "missed" not in describe(times) else 1


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
