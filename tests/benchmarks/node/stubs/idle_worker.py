"""The real bridge worker on a terminal that is no process: logged in, trading allowed, 20 symbols that move."""

from __future__ import annotations

import json
import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mt5_bridge import worker
from mt5_bridge.contract import STRUCTS
from mt5_bridge.structs import STRUCT_CLASSES

ANSWERS_MANY = 20


def _struct(name: str, /, **values: Any) -> Any:
    return STRUCT_CLASSES[name](values.get(field, kind()) for field, kind in STRUCTS[name])


class SimulatedBackend:
    def __init__(self, ipc: str) -> None:
        del ipc
        config = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
        owner = {"login": config["login"], "server": config["server"], "trade_allowed": True, "trade_expert": True}
        self._account = _struct("AccountInfo", balance=1000.0, equity=1000.0, currency="USD", **owner)
        self._terminal = _struct("TerminalInfo", connected=True, trade_allowed=True, build=5000)
        self._symbols = tuple(_struct("SymbolInfo", name=f"S{number}", select=True) for number in range(ANSWERS_MANY))
        self._deals = (_struct("TradeDeal", ticket=1, time=1_767_600_000, symbol="S1", volume=0.1),)

    def call(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        del args, kwargs
        match function:
            case "initialize":
                return True
            case "account_info":
                return self._account
            case "terminal_info":
                return self._terminal
            case "symbols_get":
                return self._symbols
            case "symbol_info_tick":
                msc = int(time.time() * 1000)
                return _struct("Tick", time=msc // 1000, time_msc=msc, bid=1.1, ask=1.1002)
            case "history_deals_get":
                return self._deals
            case "history_deals_total":
                return 1
            case "positions_total" | "orders_total":
                return 0
        return ()

    def last_error(self) -> tuple[int, str]:
        return (1, "Success")

    def close(self) -> None:
        pass


if __name__ == "__main__":
    backend = types.ModuleType("mt5_bridge.backends.simulated")
    backend.SimulatedBackend = SimulatedBackend  # type: ignore[attr-defined]
    sys.modules[backend.__name__] = backend
    sys.exit(worker.main())
