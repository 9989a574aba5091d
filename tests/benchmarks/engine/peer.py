"""The process that runs strategytester5's own tick loop on the scene: a JSON line in, a JSON line out.

It runs in an environment of its own. The official package, which strategytester5 imports for names and for facts about
the broker, is stood in for by a module with the same constants and structs.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from mt5_bridge.contract import CONSTANTS, STRUCTS
from mt5_bridge.structs import STRUCT_CLASSES
from tests.benchmarks.engine.scene import DEPOSIT, LEVERAGE, SYMBOL, Ticks, requests

_BLANK: dict[type, Any] = {bool: False, int: 0, float: 0.0, str: ""}
_SYMBOL_FACTS = {
    "name": SYMBOL,
    "digits": 5,
    "point": 1e-5,
    "trade_contract_size": 100_000.0,
    "trade_tick_size": 1e-5,
    "trade_tick_value": 1.0,
    "trade_calc_mode": 0,
    "volume_min": 0.01,
    "volume_max": 500.0,
    "volume_step": 0.01,
    "currency_base": "EUR",
    "currency_profit": "USD",
    "currency_margin": "EUR",
}
_ACCOUNT_FACTS = {"login": 1, "leverage": LEVERAGE, "limit_orders": 200, "margin_so_call": 50.0, "margin_so_so": 30.0}


def _struct(name: str, facts: dict[str, Any]) -> Any:
    return STRUCT_CLASSES[name]([facts.get(field, _BLANK[kind]) for field, kind in STRUCTS[name]])


def _stand_in() -> ModuleType:
    module = ModuleType("MetaTrader5")
    vars(module).update(CONSTANTS)
    vars(module).update(STRUCT_CLASSES)
    account = _struct("AccountInfo", _ACCOUNT_FACTS | {"currency": "USD", "balance": DEPOSIT, "equity": DEPOSIT})
    vars(module).update(
        symbols_get=lambda: (_struct("SymbolInfo", _SYMBOL_FACTS),),
        account_info=lambda: account,
        terminal_info=lambda: _struct("TerminalInfo", {}),
        last_error=lambda: (1, "Success"),
    )
    return module


def _config() -> dict[str, Any]:
    return {
        "bot_name": "bench",
        "symbols": [SYMBOL],
        "timeframe": "H1",
        "start_date": "22.09.2025 00:00",
        "end_date": "30.09.2025 23:59",
        "modelling": "every tick based on real ticks",
        "deposit": DEPOSIT,
        "leverage": f"1:{LEVERAGE}",
    }


def _measure(ticks: Ticks) -> dict[str, Any]:
    """Processor seconds of its loop over the ticks, in its light mode: no log, no dashboard, no report."""
    polars = import_module("polars")  # only this environment has these
    virtual = import_module("strategytester5.MetaTrader5.api").VirtualMetaTrader5(sys.modules["MetaTrader5"])
    tester = import_module("strategytester5.tester").StrategyTester(_config(), virtual, logging_level=logging.CRITICAL)
    tester._tester_init(is_optimization_mode=True)
    first = ticks[0]
    virtual.tick_update(SYMBOL, {name: first[name].item() for name in ticks.dtype.names})
    for request in requests(float(first["bid"]), float(first["ask"])):
        done = virtual.order_send(request)
        if done is None or done.retcode != CONSTANTS["TRADE_RETCODE_DONE"]:
            raise RuntimeError(f"{request} was refused: {done}")
    frame = polars.DataFrame({name: np.ascontiguousarray(ticks[name]) for name in ticks.dtype.names})
    frame = frame.with_columns(polars.lit(0).alias("symbol_id"))
    tester._initialize_curves(frame.height)
    begun = time.thread_time()
    tester._run_tick_simulation(frame, [SYMBOL], lambda: None)
    seconds = time.thread_time() - begun
    outcome = {"profit": round(virtual.ACCOUNT.profit, 2), "positions": len(virtual.POSITIONS)}
    return {"seconds": seconds, "outcome": outcome | {"orders": len(virtual.ORDERS)}}


def main() -> None:
    """Answer requests until the input ends; the first argument is the file with the ticks."""
    ticks = np.load(sys.argv[1])
    sys.modules["MetaTrader5"] = _stand_in()
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        wish = json.loads(line)
        answers.write(json.dumps(_measure(ticks[wish["start"] : wish["stop"]])) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
