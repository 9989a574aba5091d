"""How much memory and time a long replay takes: `python tests/benchmarks/replay_memory.py [--json]`.

A year of minute bars for 20 symbols and, in a market of its own, a week of ticks are replayed as fast as possible
through the engine, with the real files of ../shared/market_data under 20 names. Each replay is a process of its own;
its figure is the highest resident memory that the kernel has seen, mapped files included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "market_data"
LIMIT_MB = 400
BARS = "mt5_bars_EURUSD_M1_2025.parquet"
TICKS = "mt5_ticks_EURUSD_20250922-20250930.parquet"
QUOTES = ("EUR", "USD", "JPY", "CHF")
NAMES = [base + quote for base in ("AUD", "CAD", "NZD", "GBP", "SEK") for quote in QUOTES]
HOUR_MSC = 3_600_000
CASES = {"a year of M1, 20 symbols": (BARS, 20), "a week of ticks, 5 symbols": (TICKS, 5)}


def replay(folder: Path, symbols: list[str]) -> dict[str, float]:
    """Replay everything in `folder` in this process."""
    from mt5_bridge.simulated.engine.exchange import Exchange
    from mt5_bridge.simulated.market.replay import replay_market

    begun = time.monotonic()
    market = replay_market(folder, symbols, spill_folder=folder)
    loaded = time.monotonic()
    exchange = Exchange(market.specs, [], market.start_msc)
    ticks, now = 0, market.start_msc
    while True:
        batch = market.release(now)
        ticks += sum(len(fresh) for fresh in batch.values())
        exchange.advance(batch, now)
        upcoming = market.next_time_msc()
        if upcoming is None:
            break
        now = max(now + HOUR_MSC, upcoming)
    bars = sum(len(series.bars_from_position(16408, 0, 1000)) for series in market.series.values())
    ended = time.monotonic()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "peak_mb": round(peak),
        "load_s": round(loaded - begun, 1),
        "replay_s": round(ended - loaded, 1),
        "ticks": ticks,
        "ticks_a_second": round(ticks / (ended - loaded)),
        "daily_bars": bars,
    }


def measure(source: str, count: int) -> dict[str, float]:
    """Replay the file under `count` names in a fresh process."""
    with tempfile.TemporaryDirectory() as name:
        folder, symbols = Path(name), NAMES[:count]
        for symbol in symbols:
            (folder / f"{symbol}_.parquet").symlink_to(DATA / source)
        command = [sys.executable, __file__, "--folder", name, "--symbols", ",".join(symbols)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> int:
    """Exit code 1 when a replay takes more than the limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--symbols", default="")
    arguments = parser.parse_args()
    if arguments.folder:
        sys.path.insert(0, str(ROOT))
        print(json.dumps(replay(arguments.folder, arguments.symbols.split(","))))
        return 0
    results = {name: measure(*case) for name, case in CASES.items()}
    if arguments.json:
        print(json.dumps(results))
    else:
        for name, result in results.items():
            print(
                f"{name:28} {result['peak_mb']:.0f} MB at most (goal {LIMIT_MB}), {result['ticks']:,.0f} ticks in "
                f"{result['replay_s']} s ({result['ticks_a_second']:,.0f}/s), loaded in {result['load_s']} s"
            )
    return int(any(result["peak_mb"] > LIMIT_MB for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
