"""Orders over REST beside the same orders through mt5linux's protocol: `python -m tests.benchmarks.orders`.

Both go to the same simulated terminal of one farm on this machine, in rounds that take turns. Over REST an order is
checked, written down by the control plane and by the bridge, sent through the node's gateway (TLS) and settled; by
mt5linux's protocol (RPyC's classic mode, without TLS) it is asked for a price and sent, with nothing written down.
Over REST it is measured from the moment at which the client sends its request, to two ends: the broker's answer is with
the bridge (its note in the journal has the time), and the client has its answer, before which the outcome is written
down twice. The processor time of an order over REST says what it costs on a machine that has other work as well.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.orders.faults import FaultPlan
from tests.orders.rest_farm import RestFarm

SYMBOL = "EURUSD"
GOALS_MS = (6.0, 25.0)
"""p50 and p99 of an order over REST until the broker has acknowledged it."""
ACKNOWLEDGED, ANSWERED = "REST, until the broker's acknowledgement", "REST, until the client's answer"


class DirectFarm(RestFarm):
    """No proxy between control plane and gateway, which would cost time."""

    def _gateway_options(self, port: int) -> list[str]:
        return ["--gateway-listen", f"127.0.0.1:{port}"]


class Rest:
    """One client of the REST API. Its orders go over a bare socket, as its own time is measured too."""

    def __init__(self, farm: RestFarm, account_id: str) -> None:
        headers = {"Origin": farm.url}
        self._http = httpx.Client(base_url=f"{farm.url}/api/v1/accounts/{account_id}", headers=headers, timeout=20.0)
        self._http.cookies.update(farm.client._http.cookies)
        address = httpx.URL(farm.url)
        self._socket = socket.create_connection((address.host, address.port or 80), 20.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        cookies = "; ".join(f"{name}={value}" for name, value in self._http.cookies.items())
        self._head = (
            f"POST /api/v1/accounts/{account_id}/orders HTTP/1.1\r\nHost: {address.netloc.decode()}\r\n"
            f"Origin: {farm.url}\r\nCookie: {cookies}\r\nContent-Type: application/json\r\n"
        )
        self._count = 0
        self.begun: dict[str, float] = {}
        """When each order was sent, by its id; seconds since 1970."""

    def order(self, side: str) -> None:
        self._count += 1
        body = json.dumps({"symbol": SYMBOL, "side": side, "volume": 0.01})
        head = f"{self._head}Idempotency-Key: bench-{self._count}\r\nContent-Length: {len(body)}\r\n\r\n"
        begun = time.time()
        self._socket.sendall((head + body).encode())
        status, answer = self._answer()
        if status != httpx.codes.CREATED or answer["state"] != "done":
            raise RuntimeError(f"{status}: {answer}")
        self.begun[answer["id"]] = begun

    def _answer(self) -> tuple[int, Any]:
        received = self._socket.recv(65536)
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        while len(body) < length:
            body += self._more()
        return int(head.split(b" ", 2)[1]), json.loads(body)

    def _more(self) -> bytes:
        more = self._socket.recv(65536)
        if not more:
            raise ConnectionError("the control plane has closed the connection")
        return more

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


def worker_of(farm: RestFarm) -> dict[str, Any]:
    """The configuration of the worker of the farm's only account."""
    file = next((farm.nodes[0].folder / "terminals").glob("*/worker.json"))
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def acknowledged(journal: str, begun: Mapping[str, float]) -> list[float]:
    """Milliseconds from sending each order to the moment at which the bridge has the broker's answer to it."""
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as database:
        rows = dict(database.execute("SELECT client_order_id, updated_at FROM orders WHERE state = 'done'").fetchall())
    return [(rows[order] - moment) * 1e3 for order, moment in begun.items()]


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
        reached = "" if way != ACKNOWLEDGED else verdict(middle, late)
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
        worker = worker_of(farm)
        rest = Rest(farm, next(iter(farm.logins.values())))
        plain = Plain(int(server.stdout.readline()), worker["backend_options"]["ipc"])
        times: dict[str, list[float]] = {ACKNOWLEDGED: [], ANSWERED: [], "mt5linux's protocol": []}
        processors = Processors(farm)
        for number in range(rounds + 1):
            with processors.measuring() if number else nullcontext():  # the first warms up
                rest.begun.clear()
                found = {ANSWERED: times_of(rest.order, count)}
            found[ACKNOWLEDGED] = acknowledged(worker["journal"], rest.begun)
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
    print(describe_costs(used, len(times[ANSWERED])))
    return 0 if "missed" not in describe(times) else 1


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
