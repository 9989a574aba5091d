"""Chaos: faults in real processes, and what they cost. `python -m tests.chaos.run --times 3` prints the table.

Every account trades by a bot all the time. In the end the broker's books are compared with the trade log.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from control_plane.demo.count import Count
from tests.chaos.farm import ChaosFarm, wait_for
from tests.chaos.faults import Fault, all_faults

POLICIES = ("self_fence", "keep_running", "self_fence", "keep_running")
WHOLE_SECONDS = 60.0
SETTLED_SECONDS = 60.0


@dataclass
class Report:
    """What a run has shown."""

    faults: list[Fault]
    count: Count = field(default_factory=Count)
    stale: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return self.count.clean and not self.stale and not self.complaints


def run(folder: Path, *, times: int, seed: int, only: str = "") -> Report:
    """Inflict every fault whose name holds `only` so many times, in an order drawn from the seed."""
    chance = random.Random(seed)
    faults = [fault for fault in all_faults() if only in fault.name]
    report = Report(faults)
    farm = ChaosFarm(folder, nodes=2, policies=POLICIES)
    try:
        for fault in chance.sample(faults * times, len(faults) * times):
            _inflict(farm, fault, chance, report)
        for bot in farm.client.bots():
            farm.client.stop_bot(bot["id"])
        wait_for(lambda: farm.compare().clean, SETTLED_SECONDS, "a trade log that equals the broker's book")
    except TimeoutError as error:
        report.complaints.append(str(error))
    finally:
        try:
            report.count = farm.compare()
            report.stale = farm.stale_orders()
            report.complaints += farm.complaints
        finally:
            farm.close()
    return report


def _inflict(farm: ChaosFarm, fault: Fault, chance: random.Random, report: Report) -> None:
    try:
        took = fault.inflict(farm, chance)
        fault.recoveries.append(took)
        print(f"{time.strftime('%H:%M:%S')} {fault.name}: {took:.1f} s", flush=True)
    except TimeoutError as error:
        report.complaints.append(f"{fault.name}: {error}")
        wait_for(farm.whole, WHOLE_SECONDS, f"a whole farm after {fault.name}")


def describe(report: Report) -> str:
    """The table, and the comparison of the books."""
    lines = ["| fault | times | recovery, median | max |", "|---|---|---|---|"]
    for fault in report.faults:
        if fault.recoveries:
            median, worst = statistics.median(fault.recoveries), max(fault.recoveries)
            lines.append(f"| {fault.name} | {len(fault.recoveries)} | {median:.1f} s | {worst:.1f} s |")
    count = report.count
    lines += [
        f"orders {count.orders_sent}; deals at the broker {count.deals_broker}, recorded {count.deals_recorded}",
        f"orders by a stale holder {len(report.stale)}, events lost {count.lost}, doubled {count.duplicated}, "
        f"not settled {count.unsettled}",
        *(count.notes + report.stale + report.complaints)[:20],
    ]
    return "\n".join(lines)


def main() -> int:
    """Entry point: exit code 1 when something is lost, doubled, stale or not whole again."""
    parser = argparse.ArgumentParser(prog="tests.chaos.run", description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--only", default="", help="part of the names of the faults to inflict")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as folder:
        report = run(Path(folder), times=options.times, seed=options.seed, only=options.only)
    print(describe(report))
    return 0 if report.sound else 1


if __name__ == "__main__":
    sys.exit(main())
