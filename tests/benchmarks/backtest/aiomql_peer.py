"""A moving-average cross in aiomql's backtest engine, on bars in a file: prints processor seconds and what it came to.

The engine asks no terminal here: it is given bars, ticks, symbol and account, as from its own recording. The official
package, of which it imports structs and constants, is stood in for by the farm's. The engine is stepped directly, one
bar at a time, without the threads and barriers of its runner, which would cost it more. Where it has no price or
refuses, this ends with an error.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
import types
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mt5_bridge.contract import CONSTANTS, FUNCTIONS, STRUCTS
from mt5_bridge.simulated.market.bar_ticks import ticks_of_bars
from mt5_bridge.structs import STRUCT_CLASSES

SYMBOL = "EURUSD"


def stand_ins() -> None:
    """What aiomql imports and never asks here: the official package, and libraries of indicators and of pictures."""
    module = types.ModuleType("MetaTrader5")
    vars(module).update({name: lambda *_, **__: None for name in FUNCTIONS} | dict(CONSTANTS) | STRUCT_CLASSES)
    sys.modules["MetaTrader5"] = module
    for name in ("pandas_ta", "mplfinance"):
        sys.modules[name] = types.ModuleType(name)


def main() -> None:
    """Arguments: file of bars, fast and slow period, lots to trade."""
    file, fast, slow, lots = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    stand_ins()
    from aiomql.core.backtesting import BackTestEngine
    from aiomql.core.backtesting.get_data import BackTestData
    from aiomql.core.config import Config
    from aiomql.core.constants import TimeFrame
    from aiomql.core.meta_backtester import MetaBackTester

    bars = np.load(file)
    first, last = int(bars["time"][0]), int(bars["time"][-1]) + 60
    symbol: dict[str, Any] = {name: "" if kind is str else 0 for name, kind in STRUCTS["SymbolInfo"]}
    symbol |= {"name": SYMBOL, "point": 1e-5, "digits": 5, "trade_contract_size": 100_000.0, "volume_min": 0.01}
    symbol |= {"volume_max": 500.0, "volume_step": 0.01, "trade_tick_value": 1.0, "trade_tick_size": 1e-5}
    symbol |= {"trade_mode": 4, "filling_mode": 1, "currency_base": "EUR", "currency_profit": "USD", "select": True}
    data = BackTestData(
        name="bench",
        symbols={SYMBOL: symbol},
        ticks={SYMBOL: ticks_of_bars(bars, 60, 1e-5)},
        rates={SYMBOL: {CONSTANTS["TIMEFRAME_M1"]: bars}},
        span=range(first, last),
        range=range(last - first),
    )

    async def play() -> int:
        engine = BackTestEngine(
            data=data,
            speed=60,
            start=datetime.fromtimestamp(first, UTC),
            end=datetime.fromtimestamp(last, UTC),
            use_terminal=False,
            checkpoint=2.0,
            account_info={"balance": 1_000_000.0, "leverage": 100, "currency": "USD", "currency_digits": 2},
        )
        terminal = MetaBackTester(backtest_engine=engine)
        await engine.setup_account()
        trades = 0
        while True:
            engine.next()
            if engine.stop_testing:
                return trades
            await engine.tracker()
            rates = await terminal.copy_rates_from_pos(SYMBOL, TimeFrame.M1, 1, slow + 1)
            if rates is None or len(rates) < slow + 1:
                continue
            closes = rates["close"]
            before, now = (
                closes[-fast - one : len(closes) - one].mean() - closes[-slow - one : len(closes) - one].mean()
                for one in (1, 0)
            )
            if not (before <= 0 < now or before >= 0 > now):
                continue
            side = 0 if now > 0 else 1
            tick = await terminal.symbol_info_tick(SYMBOL)
            request: dict[str, Any] = {"action": 1, "symbol": SYMBOL, "volume": lots, "deviation": 20, "magic": 1}
            request |= {"type": side, "price": tick.ask if side == 0 else tick.bid, "sl": 0.0, "tp": 0.0}
            request |= {"type_filling": 0, "type_time": 0, "comment": ""}
            for position in await terminal.positions_get(symbol=SYMBOL):
                closed = await terminal.order_send(request | {"position": position.ticket})
                assert closed.retcode == 10009, closed
                trades += 1
            opened = await terminal.order_send(request)
            assert opened.retcode == 10009, opened

    with tempfile.TemporaryDirectory() as folder:
        Config(root=folder, mode="backtest", use_terminal_for_backtesting=False)
        begun = time.process_time()
        trades = asyncio.run(play())
        print(json.dumps({"seconds": time.process_time() - begun, "trades": trades}))


if __name__ == "__main__":
    main()
