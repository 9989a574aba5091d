"""`python -m tests.benchmarks.engine`: ticks a second through the engine, beside strategytester5 on the same ticks.

Rounds are interleaved: in each one both go through the same stretch of ticks, the farm's engine in all of its ways. The
figures are processor time of the thread that does the work, so that a busy machine disturbs neither.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.engine import ours
from tests.benchmarks.engine.scene import ROOT, SYMBOL, Ticks, real_ticks, synthetic_ticks

PEER = "strategytester5==2.2.7"
# What it imports, without the official package: that has no wheel for Linux.
NEEDS = ("numpy", "polars", "pandas", "numba", "scipy", "plotly", "kaleido", "flask", "flask-socketio", "tqdm")
NEEDS_TOO = ("python-dateutil",)
RATIO_GOAL, TICKS_GOAL = 10.0, 200_000
WAYS = {
    "batch": "a batch, nobody looks in between",
    "single": "tick by tick, a strategy called after each",
    "account_each": "the same, with profit, equity and margin computed after each",
    "everything_each": "the same, with account, positions and orders read as structs after each",
}
Outcome = dict[str, Any]


def install(target: Path) -> None:
    """Put strategytester5 and what it imports into a folder of their own, once. Raises CalledProcessError."""
    if (target / "complete").exists():
        return
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    command = [*pip, "--no-warn-conflicts", "--upgrade", "--target", str(target)]
    subprocess.run([*command, *NEEDS, *NEEDS_TOO], check=True)
    subprocess.run([*command, "--no-deps", PEER], check=True)
    (target / "complete").touch()


class Peer:
    """strategytester5 in a process of its own."""

    def __init__(self, environment: Path, folder: Path, ticks: Ticks) -> None:
        file = folder / "ticks.npy"
        np.save(file, ticks)
        path = os.pathsep.join((str(environment), str(ROOT)))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.engine.peer", str(file)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path, "TQDM_DISABLE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self, start: int, stop: int) -> tuple[float, Outcome]:
        """Processor seconds for a stretch of the ticks, and what it ends with."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"start": start, "stop": stop}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["seconds"], answer["outcome"]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def _rounds(peer: Peer | None, ticks: Ticks, rounds: int, count: int) -> tuple[dict[str, list[float]], list[str]]:
    """Ticks a second of each way and round, and where the engines disagree."""
    speeds: dict[str, list[float]] = {way: [] for way in (*WAYS, "peer")}
    differences = []
    stretches = max(1, (len(ticks) - 1) // count)
    for number in range(rounds):
        start = number * max(1, stretches // rounds) * count % (stretches * count)
        stretch = ticks[start : start + count]
        outcomes = {}
        for way in WAYS:
            seconds, outcomes[way] = ours.measure(stretch, way)
            speeds[way].append(len(stretch) / seconds)
        if peer is not None:
            seconds, outcomes["peer"] = peer.measure(start, start + count)
            speeds["peer"].append(len(stretch) / seconds)
        if any(one != outcomes["batch"] for one in outcomes.values()):
            differences.append(f"round {number + 1} ends differently: {outcomes}")
    return speeds, differences


def _report(speeds: dict[str, list[float]], differences: list[str]) -> int:
    middle = {way: statistics.median(found) for way, found in speeds.items() if found}
    base = middle.get("peer")
    print("| what | ticks/s | lowest and highest round | times strategytester5 |\n|---|---|---|---|")
    for way, words in (WAYS | {"peer": f"{PEER}, its own tick loop, light mode"}).items():
        if way in middle:
            found, times = speeds[way], f"{middle[way] / base:,.1f}" if base else ""
            print(f"| {words} | {middle[way]:,.0f} | {min(found):,.0f} .. {max(found):,.0f} | {times} |")
    print()
    reached = middle["single"] >= TICKS_GOAL
    print(f"tick by tick >= {TICKS_GOAL:,} ticks/s: {'ok' if reached else 'MISSED'}")
    if base:
        # It adds profits and margin up on each tick, so the way that does so too is held against it.
        ratio = middle["account_each"] / base
        verdict = "ok" if ratio >= RATIO_GOAL else "MISSED"
        print(f"with the sums of each tick >= {RATIO_GOAL:g} times strategytester5: {ratio:.1f} {verdict}")
        reached = reached and ratio >= RATIO_GOAL
    for line in differences:
        print(line)
    return 0 if reached and not differences else 1


def main() -> int:
    """Exit code 1 when a goal is missed or the engines disagree."""
    parser = argparse.ArgumentParser(prog="bench-engine")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ticks", type=int, default=10_000, help="ticks of a round")
    parser.add_argument("--synthetic", action="store_true", help="not the real ticks, even if they are there")
    parser.add_argument("--no-peer", action="store_true", help="the farm's engine alone")
    parser.add_argument("--environment", type=Path, default=ROOT / ".cache" / "bench-engine")
    arguments = parser.parse_args()
    real = None if arguments.synthetic else real_ticks()
    ticks = synthetic_ticks() if real is None else real
    print(
        f"{SYMBOL}, {'synthetic' if real is None else 'real'} ticks, {arguments.rounds} rounds of {arguments.ticks:,}"
    )
    with tempfile.TemporaryDirectory(prefix="m5") as folder:
        peer = None
        if not arguments.no_peer:
            install(arguments.environment)
            peer = Peer(arguments.environment, Path(folder), ticks)
        try:
            speeds, differences = _rounds(peer, ticks, arguments.rounds, arguments.ticks)
        finally:
            if peer is not None:
                peer.close()
    return _report(speeds, differences)


if __name__ == "__main__":
    sys.exit(main())
