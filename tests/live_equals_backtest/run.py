"""`python -m tests.live_equals_backtest.run`: each built-in strategy live and as a backtest over the same ticks.

Two scenes of the real ticks: a stretch of all ticks on M1, and a whole week thinned evenly on M5, so that strategies of
hours and days trade too. Without the real ticks both are random walks.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from mt5_bridge.simulated.market.history import inspect_file, read_ticks
from mt5_bridge.strategies.registry import BUILT_IN
from tests.live_equals_backtest.stage import Scene, backtested, live, random_ticks, with_an_end

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "market_data" / "mt5_ticks_EURUSD_20250922-20250930.parquet"
M1, M5 = 1, 5
PARAMETERS: dict[str, dict[str, Any]] = {
    "moving_average_cross": {"fast": 2, "slow": 5, "stop_loss_points": 60, "take_profit_points": 90},
    "rsi_reversion": {"period": 3, "oversold": 35, "overbought": 65, "stop_loss_points": 80},
    "bollinger_reversion": {"period": 10, "width": 1.2},
    "macd_cross": {"fast": 3, "slow": 6, "signal": 2},
    "donchian_breakout": {"entry": 6, "exit": 3, "take_profit_points": 120},
    "atr_trailing": {"trend": 5, "period": 3, "multiple": 1.5},
    "london_breakout": {},
    "learned_direction": {"train": 300, "retrain": 40, "horizon": 3, "confidence": 0.5, "accuracy": 0.0},
}


def scenes(moments: int) -> list[tuple[str, int, Any]]:
    """(name, timeframe, ticks) of each scene."""
    if not REAL.exists():
        return [
            ("random, M1", M1, random_ticks(moments, 1, 3.0)),
            ("random week, M5", M5, random_ticks(moments, 2, 100.0)),
        ]
    ticks = read_ticks(inspect_file(REAL))
    thinned = ticks[np.linspace(0, len(ticks) - 1, moments).astype(int)]
    # What changed since the tick before is another thing now: bids are said to have moved.
    thinned["flags"] |= 2
    return [("every tick, M1", M1, ticks[len(ticks) // 3 :][:moments]), ("thinned week, M5", M5, thinned)]


def main() -> int:
    """Exit code 1 when a list of deals differs, or when a strategy traded in neither scene."""
    parser = argparse.ArgumentParser(prog="live-equals-backtest")
    parser.add_argument("--moments", type=int, default=2500, help="ticks of a scene")
    parser.add_argument("--strategy", choices=sorted(BUILT_IN), action="append")
    arguments = parser.parse_args()
    found = scenes(arguments.moments)
    failed = False
    print("| strategy | scene | deals live | deals backtest | the same | seconds live |\n|---|---|---|---|---|---|")
    for name in arguments.strategy or BUILT_IN:
        traded = 0
        for words, timeframe, ticks in found:
            scene = Scene(name, PARAMETERS[name], timeframe, with_an_end(ticks))
            begun = time.monotonic()
            one, two = live(scene), backtested(scene)
            traded += len(one)
            same = one == two
            seconds = time.monotonic() - begun
            print(
                f"| {name} | {words} | {len(one)} | {len(two)} | {'yes' if same else 'NO'} | {seconds:.0f} |",
                flush=True,
            )
            if not same:
                failed = True
                for number, (left, right) in enumerate(zip(one, two, strict=False)):
                    if left != right:
                        print(f"first difference: deal {number}: live {left}, backtest {right}")
                        break
        if not traded:
            failed = True
            print(f"{name} traded in no scene, which proves nothing")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
