"""What a node costs and how fast it mends itself: `python -m tests.benchmarks.node [--times N] [--terminals N]`.

Prints each figure beside its goal. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

from tests.benchmarks.node import cost, recovery

GOALS = {"bridge worker": 3.0, "simulated terminal": 5.0, "gateway": 2.0, "agent": 5.0}
"""Seconds, median."""
CPU_GOAL = 0.05
MEMORY_GOAL = 120e6


def main() -> int:
    parser = argparse.ArgumentParser(description="Recovery of a node's processes, and the cost of its agent.")
    parser.add_argument("--times", type=int, default=20, help="how often each process is killed; 0: not at all")
    parser.add_argument("--terminals", type=int, default=100, help="for the agent's cost; 0: not measured")
    parser.add_argument("--seconds", type=float, default=60.0, help="for which the agent's cost is watched")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    missed = 0
    if options.times:
        print(f"Killed and back, seconds, {options.times} times each:")
        for name, took in recovery.measure(options.times).items():
            median = statistics.median(took)
            figures[name] = round(median, 3)
            missed += _show(name, f"median {median:.2f}, max {max(took):.2f}", median <= GOALS[name], GOALS[name])
    if options.terminals:
        found = cost.measure(options.terminals, options.seconds)
        figures |= {"cpu_share": round(found.cpu_share, 4), "memory": found.memory, "terminals": found.terminals}
        print(f"The agent with {found.terminals} stub terminals, {found.seconds:.0f} s, {found.threads} threads:")
        missed += _show(
            "processor", f"{found.cpu_share:.1%} of one core", found.cpu_share <= CPU_GOAL, f"{CPU_GOAL:.0%}"
        )
        missed += _show("memory", f"{found.memory / 1e6:.0f} MB", found.memory <= MEMORY_GOAL, "120 MB")
    if options.json:
        print(json.dumps(figures))
    return 1 if missed else 0


def _show(name: str, figure: str, reached: bool, goal: object) -> bool:
    """Prints a line; True when the goal was missed."""
    print(f"  {name:<20} {figure:<28} goal {goal}  {'reached' if reached else 'MISSED'}", flush=True)
    return not reached


if __name__ == "__main__":
    sys.exit(main())
