"""The real bridge worker on a backend that talks to `stub_terminal`: `python -m stub_worker --config FILE`."""

from __future__ import annotations

import json
import socket
import sys
import time
import types
from collections.abc import Mapping
from typing import Any

from mt5_bridge import worker
from mt5_bridge.contract import STRUCTS
from mt5_bridge.structs import STRUCT_CLASSES


def _struct(name: str, /, **values: Any) -> Any:
    return STRUCT_CLASSES[name](values.get(field, kind()) for field, kind in STRUCTS[name])


class SimulatedBackend:
    def __init__(self, ipc: str) -> None:
        self._path = ipc.removeprefix("unix:")
        self._error = (-10004, "No IPC connection")

    def call(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(self._path)
                state = json.loads(link.makefile().readline())
        except (OSError, ValueError):
            self._error = (-10004, "No IPC connection")
            return False if function == "initialize" else None
        if state["refused"]:
            self._error = (-6, "Terminal: Authorization failed")
            return False if function == "initialize" else None
        self._error = (1, "Success")
        return self._answer(function, state)

    def _answer(self, function: str, state: dict[str, Any]) -> Any:
        msc = int(time.time() * 1000)
        match function:
            case "initialize":
                return True
            case "account_info":
                return _struct(
                    "AccountInfo",
                    login=state["login"],
                    server=state["server"],
                    currency="USD",
                    balance=1000.0,
                    equity=1000.0,
                    trade_allowed=True,
                    trade_expert=True,
                )
            case "terminal_info":
                return _struct("TerminalInfo", connected=True, trade_allowed=True)
            case "symbols_get":
                return (_struct("SymbolInfo", name="EURUSD", select=True),)
            case "symbol_info_tick":
                return _struct("Tick", time=msc // 1000, time_msc=msc, bid=1.1, ask=1.1002)
            case "history_deals_get":
                return tuple(_struct("TradeDeal", **deal) for deal in state["deals"])
            case "history_deals_total":
                return len(state["deals"])
            case "positions_total" | "orders_total":
                return 0
            case _:
                return ()

    def last_error(self) -> tuple[int, str]:
        return self._error

    def close(self) -> None:
        pass


if __name__ == "__main__":
    backend = types.ModuleType("mt5_bridge.backends.simulated")
    backend.SimulatedBackend = SimulatedBackend  # type: ignore[attr-defined]
    sys.modules[backend.__name__] = backend
    sys.exit(worker.main())
