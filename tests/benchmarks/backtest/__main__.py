"""`python -m tests.benchmarks.backtest`: bars and ticks a second, beside backtesting.py on the same bars and strategy.

Both run a moving-average cross once. The farm plays four ticks for each bar through the broker's engine with margins,
stops and stop-outs; backtesting.py fills orders at the next bar's open. Figures are processor time without loading.
aiomql's backtester needs the official package, which runs on Windows alone, so it is not measured here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mt5_bridge.simulated.market.history import inspect_file, read_bars
from mt5_bridge.simulated.symbols import specification
from mt5_bridge.strategies.backtest.recording import of_bars
from mt5_bridge.strategies.backtest.run import Settings, run
from mt5_bridge.strategies.registry import create
from tests.unit.mt5_bridge.strategies.backtest.market import wandering

ROOT = Path(__file__).parents[3]
REAL = ROOT.parent / "shared" / "market_data" / "mt5_bars_EURUSD_M1_2025.parquet"
PEER = "backtesting==0.6.6"


def install(target: Path) -> None:
    """Put backtesting.py into a folder of its own, once. Raises CalledProcessError."""
    if not (target / "complete").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--only-binary=:all:", "--upgrade", "--target", str(target), PEER], check=True)
        (target / "complete").touch()


def main() -> int:
    """Exit code 1 when the farm is not ahead."""
    parser = argparse.ArgumentParser(prog="bench-backtest")
    parser.add_argument("--bars", type=int, default=100_000)
    parser.add_argument("--environment", type=Path, default=ROOT / ".cache" / "bench-backtest")
    arguments = parser.parse_args()
    install(arguments.environment)
    spec = specification("EURUSD")
    real = REAL.exists()
    bars = (read_bars(inspect_file(REAL), spec.point) if real else wandering(arguments.bars).bars)[: arguments.bars]
    print(f"{len(bars):,} M1 bars of EURUSD ({'real' if real else 'random'}), moving-average cross, one run each\n")
    print("| periods | farm bars/s | farm ticks/s | trades | backtesting.py bars/s | trades | ratio |")
    print("|---|---|---|---|---|---|---|")
    ahead = True
    with tempfile.TemporaryDirectory(prefix="m5") as folder:
        file = Path(folder) / "bars.npy"
        np.save(file, bars)
        path = os.pathsep.join((str(arguments.environment), str(ROOT)))
        for fast, slow in ((5, 20), (20, 100), (50, 200)):
            recording = of_bars(bars, spec, "bench")
            begun = time.process_time()
            ours = run(
                create("moving_average_cross", {"fast": fast, "slow": slow}),
                recording,
                Settings("EURUSD", 1, 0.1, deposit=1_000_000.0),
            )
            seconds = time.process_time() - begun
            command = [sys.executable, "-m", "tests.benchmarks.backtest.peer", str(file), str(fast), str(slow), "10000"]
            told = subprocess.run(
                command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True
            )
            peer = json.loads(told.stdout.splitlines()[-1])
            ratio = peer["seconds"] / seconds
            ahead = ahead and ratio > 1
            print(
                f"| {fast}/{slow} | {len(bars) / seconds:,.0f} | {ours.ticks / seconds:,.0f} "
                f"| {ours.statistics.trades:,} | {len(bars) / peer['seconds']:,.0f} | {peer['trades']:,} "
                f"| {ratio:.2f} |"
            )
    return 0 if ahead else 1


if __name__ == "__main__":
    sys.exit(main())
