"""A moving-average cross in backtesting.py, on bars in a file: prints processor seconds and what it came to."""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy
from backtesting.lib import crossover


def _average(values: Any, period: int) -> Any:
    return pd.Series(values).rolling(period).mean()


def main() -> None:
    """Arguments: file of bars, fast and slow period, units to trade."""
    warnings.simplefilter("ignore")
    file, fast, slow, units = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    bars = np.load(file)
    columns = {name.capitalize(): bars[name] for name in ("open", "high", "low", "close")}
    frame = pd.DataFrame(columns | {"Volume": bars["tick_volume"]}, index=pd.to_datetime(bars["time"], unit="s"))

    class Cross(Strategy):  # type: ignore[misc, unused-ignore]
        def init(self) -> None:
            self.fast = self.I(_average, self.data.Close, fast)
            self.slow = self.I(_average, self.data.Close, slow)

        def next(self) -> None:
            if crossover(self.fast, self.slow):
                self.position.close()
                self.buy(size=units)
            elif crossover(self.slow, self.fast):
                self.position.close()
                self.sell(size=units)

    tester = Backtest(frame, Cross, cash=1_000_000, margin=0.01, spread=0.00001)
    begun = time.process_time()
    found = tester.run()
    print(json.dumps({"seconds": time.process_time() - begun, "trades": int(found["# Trades"])}))


if __name__ == "__main__":
    main()
