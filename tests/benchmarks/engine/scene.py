"""What both engines are given: the same ticks, ten positions with stops, ten pending orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mt5_bridge.structs import TICKS_DTYPE

ROOT = Path(__file__).parents[3]
REAL = ROOT.parent / "shared" / "market_data" / "mt5_ticks_EURUSD_20250922-20250930.parquet"
SYMBOL = "EURUSD"
DEPOSIT, LEVERAGE = 10_000.0, 100
COUNT = 10
_DISTANCE, _STEP = 0.02, 0.0002
_BUY_LIMIT = 2
Ticks = Any


def real_ticks() -> Ticks | None:
    """The ticks of a real terminal, None where they are not at hand."""
    if not REAL.exists():
        return None
    import pyarrow.parquet as pq  # the other engine's environment has none

    table = pq.read_table(REAL)
    ticks = np.zeros(table.num_rows, TICKS_DTYPE)
    for name in ticks.dtype.names or ():
        ticks[name] = table[name].to_numpy()
    return ticks


def synthetic_ticks(count: int = 400_000) -> Ticks:
    """Ticks that walk by tenths of a pip, 1.5 s apart on average, within one percent of the first."""
    random = np.random.default_rng(1)
    ticks = np.zeros(count, TICKS_DTYPE)
    ticks["time_msc"] = 1_758_499_200_000 + np.cumsum(random.integers(1, 3_000, count))
    ticks["time"] = ticks["time_msc"] // 1000
    points = 117_500 + np.rint(1_000 * np.sin(np.cumsum(random.normal(0, 0.002, count)))).astype(int)
    ticks["bid"] = (points + random.integers(-3, 4, count)) / 1e5
    ticks["ask"] = ticks["bid"] + random.integers(1, 12, count) / 1e5
    ticks["flags"] = 134
    return ticks


def requests(bid: float, ask: float) -> list[dict[str, Any]]:
    """Requests for the positions and orders, two percent and more from the market: all are checked, none is reached."""
    made: list[dict[str, Any]] = []
    for number in range(COUNT):
        side, kind = 1 if number % 2 == 0 else -1, _BUY_LIMIT + number % 4
        away = _DISTANCE + number * _STEP
        stops = {"sl": round(bid - side * away, 5), "tp": round(bid + side * away, 5)}
        price = ask if side > 0 else bid
        common = {"symbol": SYMBOL, "volume": round(0.1 + number / 100, 2), "type_filling": 1}
        made.append(common | stops | {"action": 1, "type": number % 2, "price": price})
        below = kind in (_BUY_LIMIT, 5)
        level = round(bid - away if below else bid + away, 5)
        made.append(common | {"action": 5, "type": kind, "price": level, "type_filling": 2})
    return made
