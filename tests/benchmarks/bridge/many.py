"""What several clients at once get: calls a second, a quick call beside a large one, ticks a second.

Each client is a process: `python -m tests.benchmarks.bridge.many TASK WAY SECONDS` reads where to connect from standard
input, says `ready`, begins at the next line, and prints its result as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from mt5_bridge.client import MetaTrader5
from tests.benchmarks.bridge import stub, ways

_WAYS: dict[str, Callable[[str], ways.Way]] = {
    "raw": ways.Raw,
    "local": ways.local,
    "mt5linux": ways.Mt5linux,
    "rpyc": ways.PlainRpyc,
    "http": ways.HttpJson,
    "zeromq": ways.ZeroMq,
}


def open_way(name: str, where: dict[str, Any]) -> ways.Way:
    if name == "gateway":
        return ways.Bridge(MetaTrader5(where.pop("address"), **where))
    return _WAYS[name](where["address"])


def count_calls(way: ways.Way, seconds: float) -> dict[str, Any]:
    """Tick calls for some seconds: how many, and the time of the slowest hundredth (s)."""
    times = []
    end = time.perf_counter() + seconds
    now = time.perf_counter()
    while now < end:
        way.call("symbol_info_tick", stub.SYMBOL)
        after = time.perf_counter()
        times.append(after - now)
        now = after
    times.sort()
    return {"calls": len(times), "p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)]}


def pull_bars(way: ways.Way, seconds: float) -> dict[str, Any]:
    """A million bars again and again."""
    end, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        way.call("copy_rates_from_pos", stub.SYMBOL, 1, 0, stub.ROWS)
        count += 1
    return {"pulls": count}


def count_ticks(way: ways.Way, seconds: float) -> dict[str, Any]:
    """Ticks that a stream gives in some seconds; without one, ticks that polling finds."""
    if not isinstance(way, ways.Bridge):
        return {"ticks": count_calls(way, seconds)["calls"]}
    received = 0
    with way.terminal.tick_stream(stub.SYMBOL) as stream:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            chunk = stream.read(0.5)
            received += 0 if chunk is None else len(chunk[1])
    return {"ticks": received}


TASKS = {"calls": count_calls, "pull": pull_bars, "ticks": count_ticks}


class Clients:
    """Client processes that begin together."""

    def __init__(self, task: str, way: str, places: Sequence[dict[str, Any]], seconds: float) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.bridge.many", task, way, str(seconds)]
        self._children = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in places
        ]
        for child, place in zip(self._children, places, strict=True):
            assert child.stdin is not None
            child.stdin.write(json.dumps(place) + "\n")
            child.stdin.flush()
        for child in self._children:
            assert child.stdout is not None
            if child.stdout.readline() != "ready\n":
                raise RuntimeError(f"a client of {way} did not start")

    def begin(self) -> None:
        for child in self._children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()

    def results(self) -> list[dict[str, Any]]:
        results = []
        for child in self._children:
            results.append(json.loads(child.communicate(timeout=120)[0]))
        return results


def main() -> None:
    task, way, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    opened = open_way(way, json.loads(sys.stdin.readline()))
    opened.call("symbol_info_tick", stub.SYMBOL)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    sys.stdout.write(json.dumps(TASKS[task](opened, seconds)) + "\n")


if __name__ == "__main__":
    main()
