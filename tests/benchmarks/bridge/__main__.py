"""What the bridge costs: `python -m tests.benchmarks.bridge [--seconds N]` prints ratios against raw TCP and the goals.

All ways are measured in interleaved rounds, so that a busy moment of the machine meets all of them. Small calls run
with client and servers on one processor (between two of them a wake-up alone costs more than the work), arrays on one
each. A raw round trip is a length and a body each way, read as TCP must be read, into a fresh buffer for arrays.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks.bridge import ways
from tests.benchmarks.bridge.farm import Farm, connected
from tests.benchmarks.bridge.many import Clients
from tests.benchmarks.bridge.report import Report
from tests.benchmarks.bridge.simulated import measure_simulated

ROUNDS = 9
_BESIDE_ROUNDS = 7
_ARRAYS = ("bars", "ticks")
_OTHERS: dict[str, Callable[[str], ways.Way]] = {
    "mt5linux": ways.Mt5linux,
    "rpyc": ways.PlainRpyc,
    "http": ways.HttpJson,
    "zeromq": ways.ZeroMq,
}
_TOO_SLOW = frozenset({"rpyc", "http", "zeromq"})
"""These need many seconds for a million rows; their row of 100,000 tells enough."""


def median(way: ways.Way, operation: Callable[[ways.Way], Any], budget: float) -> float:
    """Median time of a call; as many calls as the budget (s) allows, three at least."""
    times: list[float] = []
    end = time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < end:
        begun = time.perf_counter()
        operation(way)
        times.append(time.perf_counter() - begun)
        if times[0] > 1.0:
            break
    return statistics.median(times)


def measure_calls(
    report: Report,
    farm: Farm,
    still: dict[str, ways.Way],
    moving: dict[str, ways.Way],
    seconds: float,
    *,
    only_small: bool,
) -> None:
    """One client, one call after the other. What does not change is asked of `still`, what does of `moving`."""
    for name, operation in ways.OPERATIONS.items():
        arrays = name.endswith(_ARRAYS)
        opened = moving if name.endswith(ways.CHANGING) else still
        if arrays and only_small:
            continue
        os.sched_setaffinity(0, {0})
        farm.pin(farm.children, {1} if arrays and (os.cpu_count() or 1) > 1 else {0})
        ratios: dict[str, list[float]] = {}
        raws: list[float] = []
        for turn in range(ROUNDS):
            raw = median(opened["raw"], operation, seconds)
            raws.append(raw)
            for way, client in opened.items():
                slow = way in _OTHERS and name.startswith(("100,000", "1,000,000"))
                if (
                    way == "raw"
                    or (way == "raw-unframed" and arrays)
                    or (way in _TOO_SLOW and name.startswith("1,000,000"))
                    or (slow and turn >= (3 if name.startswith("100,") else 1))
                ):
                    continue
                ratios.setdefault(way, []).append(median(client, operation, seconds) / raw)
        report.ratios[name] = {way: statistics.median(values) for way, values in ratios.items()}
        report.raw_seconds[name] = statistics.median(raws)
    _release(farm)


def measure_journal(report: Report, farm: Farm) -> None:
    """What the journal adds to an order, beside one fsync of this disk."""
    farm.serve("worker-journal")
    client = connected(ways.local(farm.addresses["worker-journal"]))
    cost = median(client, ways.OPERATIONS["order_send"], 1.0)
    path = farm.folder / "synced"
    times = []
    with path.open("wb") as file:
        for _ in range(30):
            file.write(b"x" * 4096)
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begun)
    report.notes.append(
        f"order_send with the journal (three commits): {cost * 1e3:.2f} ms; one fsync of this disk: "
        f"{statistics.median(times) * 1e3:.2f} ms"
    )
    client.close()
    farm.end("worker-journal")


def _place(farm: Farm, way: str, server: str) -> dict[str, Any]:
    return farm.ticket(server) if way == "gateway" else {"address": farm.addresses[server]}


def _calls(farm: Farm, way: str, server: str, clients: int, seconds: float) -> list[dict[str, Any]]:
    group = Clients("calls", way, [_place(farm, way, server) for _ in range(clients)], seconds)
    group.begin()
    return group.results()


def measure_many(report: Report, farm: Farm, seconds: float) -> None:
    """Eight clients at once, and one beside a client that pulls arrays."""
    servers = {"raw": "raw", "local": "worker", "gateway": "worker", "mt5linux": "mt5linux"}
    rates: dict[str, list[float]] = {way: [] for way in servers}
    slowest: dict[str, float] = {}
    for _ in range(3):
        for way, server in servers.items():
            results = _calls(farm, way, server, 8, seconds)
            rates[way].append(sum(result["calls"] for result in results) / seconds)
            slowest[way] = statistics.median(result["p99"] for result in results)
    medians = {way: statistics.median(values) for way, values in rates.items()}
    for way, goal in (("local", 0.5), ("gateway", 0.2)):
        report.judge(
            f"calls/s of 8 clients, {way}, against raw TCP", medians[way] / medians["raw"], goal, at_least=True
        )
    told = (f"{way} {medians[way]:,.0f}/s (p99 {slowest[way] * 1e3:.2f} ms)" for way in servers)
    report.notes.append("8 clients: " + ", ".join(told))
    for way in ("local", "gateway"):
        measure_beside(report, farm, way, seconds / 2)


def measure_beside(report: Report, farm: Farm, way: str, seconds: float) -> None:
    """The slowest hundredth of tick calls while another client pulls a million bars, against the same alone."""
    rounds = []
    for _ in range(_BESIDE_ROUNDS):
        idle = _calls(farm, way, "worker", 1, seconds)[0]["p99"]
        caller = Clients("calls", way, [_place(farm, way, "worker")], seconds)
        puller = Clients("pull", way, [_place(farm, way, "worker")], seconds + 0.5)
        puller.begin()
        time.sleep(0.2)
        caller.begin()
        busy = caller.results()[0]["p99"]
        rounds.append((busy / idle, busy, idle, puller.results()[0]["pulls"]))
    ratio, busy, idle, pulls = sorted(rounds)[_BESIDE_ROUNDS // 2]
    report.judge(f"p99 of a tick call beside 1,000,000 bars, {way}, against idle", ratio, 4.0)
    report.notes.append(
        f"p99 of a tick call, {way}: idle {idle * 1e6:.0f} us, beside arrays {busy * 1e6:.0f} us ({pulls} pulls); "
        f"ratios of all rounds {', '.join(f'{one[0]:.1f}' for one in sorted(rounds))}"
    )


def measure_ticks(report: Report, farm: Farm, seconds: float) -> None:
    """Ticks a second to eight subscribers, against polling mt5linux."""
    farm.serve("worker-flood")
    farm.open_gateway("worker-flood")
    connected(ways.local(farm.addresses["worker-flood"])).close()
    rates = {}
    for way, server in (("local", "worker-flood"), ("gateway", "worker-flood"), ("mt5linux", "mt5linux")):
        group = Clients("ticks", way, [_place(farm, way, server) for _ in range(8)], seconds)
        group.begin()
        rates[way] = sum(result["ticks"] for result in group.results()) / seconds
    for way, goal in (("local", 1000.0), ("gateway", 200.0)):
        what = f"ticks/s to 8 subscribers, {way}, times polling mt5linux"
        report.judge(what, rates[way] / rates["mt5linux"], goal, at_least=True, digits=0)
    report.notes.append("ticks/s to 8 subscribers: " + ", ".join(f"{way} {rate:,.0f}" for way, rate in rates.items()))


def _release(farm: Farm) -> None:
    everything = set(range(os.cpu_count() or 1))
    os.sched_setaffinity(0, everything)
    farm.pin(farm.children, everything)


def main() -> int:
    """Exit code 0, whether goals are reached or not: the figures depend on the machine."""
    parser = argparse.ArgumentParser(prog="bench-bridge")
    parser.add_argument("--seconds", type=float, default=0.08, help="for each way in each round")
    parser.add_argument("--no-others", action="store_true", help="only raw TCP, mt5linux's way and the bridge")
    parser.add_argument("--small", action="store_true", help="only the small calls of one client")
    arguments = parser.parse_args()
    report = Report()
    others = {"mt5linux": _OTHERS["mt5linux"]} if arguments.no_others else dict(_OTHERS)
    if importlib.util.find_spec("zmq") is None and "zeromq" in others:
        del others["zeromq"]
        report.notes.append("ZeroMQ is left out: pyzmq is not installed")
    with Farm() as farm:
        for way in ("raw", "raw-unframed", "worker", "worker-moving", *others):
            farm.serve(way)
        farm.open_gateway("worker")
        farm.open_gateway("worker-moving")
        opened: dict[str, ways.Way] = {
            "raw": ways.Raw(farm.addresses["raw"]),
            "raw-unframed": ways.RawUnframed(farm.addresses["raw-unframed"]),
            "local": connected(ways.local(farm.addresses["worker"])),
            "gateway": farm.through_gateway("worker"),
        }
        moving: dict[str, ways.Way] = {
            "raw": opened["raw"],
            "local": connected(ways.local(farm.addresses["worker-moving"])),
            "gateway": farm.through_gateway("worker-moving"),
        }
        opened |= {way: make(farm.addresses[way]) for way, make in others.items()}
        before = farm.resident("worker")
        measure_calls(report, farm, opened, moving, arguments.seconds, only_small=arguments.small)
        report.notes.append(f"memory that the worker gained by serving: {farm.resident('worker') - before:.1f} MB")
        report.judge_ratios()
        for client in (*opened.values(), moving["local"], moving["gateway"]):
            client.close()
        if not arguments.small:
            measure_journal(report, farm)
            measure_many(report, farm, 1.5)
            measure_ticks(report, farm, 1.5)
    if not arguments.small:
        measure_simulated(report)
    sys.stdout.write(report.text() + "\n")
    missed = sum(not ok for *_, ok in report.goals)
    sys.stdout.write(f"\n{len(report.goals) - missed} of {len(report.goals)} goals reached\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
