"""`python -m tests.benchmarks.backtest`: bars and ticks a second, beside backtesting.py and aiomql's backtester.

All run a moving-average cross on the same bars; the best of some rounds that take turns counts. The farm plays four
ticks for each bar through the broker's engine with margins, stops and stop-outs; backtesting.py fills orders at the
next bar's open; aiomql looks at one price a bar. Figures are processor time without loading.
At last a search of combinations by one process, by two and so on up to the machine's cores, by the clock on the wall.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mt5_bridge.simulated.market.history import inspect_file, read_bars
from mt5_bridge.simulated.symbols import specification
from mt5_bridge.strategies.backtest.optimise import Workers
from mt5_bridge.strategies.backtest.recording import of_bars
from mt5_bridge.strategies.backtest.result import Result
from mt5_bridge.strategies.backtest.run import Settings, run
from mt5_bridge.strategies.registry import create
from tests.unit.mt5_bridge.strategies.backtest.market import wandering

ROOT = Path(__file__).parents[3]
REAL = ROOT.parent / "shared" / "market_data" / "mt5_bars_EURUSD_M1_2025.parquet"
SPEC = specification("EURUSD")
PERIODS = ((5, 20), (20, 100), (50, 200))
INSTALLED = "complete-2"
"""To be counted up with the packages."""


def install(target: Path) -> None:
    """Put both rivals into a folder of their own, once. Raises CalledProcessError."""
    if not (target / INSTALLED).exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        options = ["--only-binary=:all:", "--upgrade", "--target", str(target)]
        subprocess.run([*pip, *options, "backtesting==0.6.6", "pytz"], check=True)
        # What aiomql needs besides is the official package, which is for Windows alone, and drawing and indicators.
        subprocess.run([*pip, *options, "--no-deps", "aiomql==4.0.14"], check=True)
        (target / INSTALLED).touch()


def ours(bars: Any, fast: int, slow: int) -> tuple[float, Result]:
    """Processor seconds and result of the farm."""
    recording = of_bars(bars, SPEC, "bench")
    strategy = create("moving_average_cross", {"fast": fast, "slow": slow})
    begun = time.process_time()
    result = run(strategy, recording, Settings("EURUSD", 1, 0.1, deposit=1_000_000.0))
    return time.process_time() - begun, result


def theirs(environment: Path, module: str, file: Path, fast: int, slow: int, size: str) -> dict[str, Any]:
    """Processor seconds and trades of a rival. Raises CalledProcessError."""
    command = [sys.executable, "-m", f"tests.benchmarks.backtest.{module}", str(file), str(fast), str(slow), size]
    path = os.environ | {"PYTHONPATH": os.pathsep.join((str(environment), str(ROOT)))}
    told = subprocess.run(command, env=path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    found: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return found


def compare(environment: Path, module: str, name: str, bars: Any, size: str, rounds: int) -> bool:
    """Print a row for each pair of periods; whether the farm is ahead in all."""
    print(f"\n{len(bars):,} M1 bars, best of {rounds}\n")
    print(f"| periods | farm bars/s | farm ticks/s | trades | {name} bars/s | trades | ratio |")
    print("|---|---|---|---|---|---|---|")
    ahead = True
    with tempfile.TemporaryDirectory(prefix="m5") as folder:
        file = Path(folder) / "bars.npy"
        np.save(file, bars)
        for fast, slow in PERIODS:
            pairs = [
                (ours(bars, fast, slow), theirs(environment, module, file, fast, slow, size)) for _ in range(rounds)
            ]
            seconds, result = min((own for own, _ in pairs), key=lambda one: one[0])
            rival = min((other for _, other in pairs), key=lambda one: one["seconds"])
            ratio = rival["seconds"] / seconds
            ahead = ahead and ratio > 1
            print(
                f"| {fast}/{slow} | {len(bars) / seconds:,.0f} | {result.ticks / seconds:,.0f} "
                f"| {result.statistics.trades:,} | {len(bars) / rival['seconds']:,.0f} | {rival['trades']:,} "
                f"| {ratio:.2f} |",
                flush=True,
            )
    return ahead


def used() -> float:
    """Processor seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def scale(bars: Any, rounds: int) -> None:
    """Print what more processes bring to a search; the quickest of some rounds that take turns counts."""
    recording = of_bars(bars, SPEC, "bench")
    create_cross = functools.partial(create, "moving_average_cross")
    terms = Settings("EURUSD", 1, 0.1, deposit=1_000_000.0)
    jobs = [({"fast": fast, "slow": slow}, terms) for fast in (5, 10, 20, 30) for slow in (40, 60, 80, 100, 150, 200)]
    found: dict[int, list[tuple[float, float]]] = {}
    counts = range(1, (os.cpu_count() or 1) + 1)
    for _ in range(rounds):
        for processes in counts:
            begun, spent = time.monotonic(), used()
            with Workers(create_cross, recording, processes).running() as workers:
                workers.map(jobs, lambda _: True)
            found.setdefault(processes, []).append((time.monotonic() - begun, used() - spent))
    print(f"\n{len(jobs)} combinations on {len(bars):,} bars, load before {os.getloadavg()[0]:.1f}\n")
    print("| processes | seconds | processor seconds | times as fast as one |")
    print("|---|---|---|---|")
    for processes in counts:
        seconds, processor = min(found[processes])
        print(f"| {processes} | {seconds:.2f} | {processor:.2f} | {min(found[1])[0] / seconds:.2f} |", flush=True)


def main() -> int:
    """Exit code 1 when the farm is not ahead."""
    parser = argparse.ArgumentParser(prog="bench-backtest")
    parser.add_argument("--bars", type=int, default=100_000)
    parser.add_argument("--aiomql-bars", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--environment", type=Path, default=ROOT / ".cache" / "bench-backtest")
    arguments = parser.parse_args()
    install(arguments.environment)
    real = REAL.exists()
    bars = (read_bars(inspect_file(REAL), SPEC.point) if real else wandering(arguments.bars).bars)[: arguments.bars]
    print(f"EURUSD ({'real' if real else 'random'}), moving-average cross")
    one = compare(arguments.environment, "peer", "backtesting.py", bars, "10000", arguments.rounds)
    few = bars[: arguments.aiomql_bars]
    two = compare(arguments.environment, "aiomql_peer", "aiomql", few, "0.1", 1)
    scale(bars, arguments.rounds)
    return 0 if one and two else 1


if __name__ == "__main__":
    sys.exit(main())
