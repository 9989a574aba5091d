"""Doubles for tests of the bridge: a backend with a small account behind it, and a worker that runs in this process."""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mt5_bridge.contract import STRUCTS
from mt5_bridge.structs import RATES_DTYPE, STRUCT_CLASSES
from mt5_bridge.worker import Worker
from mt5_bridge.worker_config import load_worker_config

TOKEN = "local-secret-0123456789"
LOGIN, SERVER = 5001, "MT5Farm-Demo"


def eventually(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    """Poll until the condition holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.01)


def struct(name: str, /, **values: Any) -> Any:
    """A struct with the fields that matter; the others are 0, '' and so on."""
    return STRUCT_CLASSES[name](values.get(field, kind()) for field, kind in STRUCTS[name])


class StubBackend:
    """A terminal with one account. Single-threaded, as a backend may be; tests steer it through its attributes."""

    def __init__(self) -> None:
        self.login = LOGIN
        self.linked = False
        self.reachable = True
        self.connected = True
        self.error = (0, "")
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.sent: list[dict[str, Any]] = []
        self.positions: list[Any] = []
        self.orders: list[Any] = []
        self.history: list[Any] = []
        self.deals: list[Any] = []
        self.next_ticket = 100
        self.broker_time = 1_700_000_000
        self.bid = 1.1
        self.bars = np.zeros(0, RATES_DTYPE)
        self.on_send: Callable[[dict[str, Any]], Any] = self.fill
        self.gate: threading.Event | None = None

    def call(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self.threads.add(threading.get_ident())
        self.calls.append(function)
        self.error = (1, "Success")
        if function == "initialize":
            self.linked = self.reachable
            self.error = self.error if self.linked else (-10003, "IPC initialize failed, MetaTrader 5 x64 not found")
            return self.linked
        if not self.linked or not self.reachable:
            self.linked, self.error = False, (-10004, "No IPC connection")
            return None
        return getattr(self, f"_{function}")(*args, **kwargs)

    def last_error(self) -> tuple[int, str]:
        return self.error

    def close(self) -> None:
        self.linked = False

    def fill(self, request: dict[str, Any]) -> Any:
        """Carry out a market order at 1.1, as a hedging account does."""
        self.next_ticket += 1
        ticket = self.next_ticket
        closes = request.get("position", 0)
        common = {name: request.get(name, 0) for name in ("type", "magic")} | {
            "symbol": request.get("symbol", ""),
            "comment": request.get("comment", ""),
        }
        position = closes or ticket
        if closes:
            self.positions = [open_ for open_ in self.positions if open_.ticket != closes]
        else:
            self.positions.append(
                struct("TradePosition", ticket=ticket, identifier=ticket, volume=request["volume"], **common)
            )
        self.history.append(
            struct(
                "TradeOrder",
                ticket=ticket,
                state=4,
                volume_initial=request["volume"],
                position_id=position,
                time_setup=self.broker_time,
                time_done=self.broker_time,
                **common,
            )
        )
        self.deals.append(
            struct(
                "TradeDeal",
                ticket=ticket + 5000,
                order=ticket,
                volume=request["volume"],
                price=1.1,
                time=self.broker_time,
                position_id=position,
                **common,
            )
        )
        return self.answer(10009, order=ticket, deal=ticket + 5000, volume=request["volume"], price=1.1)

    def fill_and_lose_the_answer(self, request: dict[str, Any]) -> None:
        """The broker executes, and the terminal dies before it can say so."""
        self.fill(request)
        self.lose(request)

    def lose(self, request: dict[str, Any]) -> None:
        """The terminal dies and the order never reaches the broker."""
        del request
        self.reachable = self.linked = False
        self.error = (-10002, "IPC recv failed")

    def answer(self, retcode: int, comment: str = "Request executed", **values: Any) -> Any:
        request = struct("TradeRequest", **self.sent[-1])
        return struct("OrderSendResult", retcode=retcode, comment=comment, request=request, **values)

    def _order_send(self, request: dict[str, Any]) -> Any:
        self.sent.append(request)
        if self.gate is not None:
            self.gate.wait(30)
        return self.on_send(request)

    def _terminal_info(self) -> Any:
        return struct("TerminalInfo", connected=self.connected)

    def _account_info(self) -> Any:
        return struct("AccountInfo", login=self.login, server=SERVER, balance=10000.0)

    def _symbol_info(self, symbol: str) -> Any:
        if symbol != "EURUSD":
            self.error = (-4, "Terminal: Not found")
            return None
        return struct(
            "SymbolInfo",
            name=symbol,
            volume_min=0.01,
            volume_max=100.0,
            volume_step=0.01,
            point=0.00001,
            digits=5,
            filling_mode=3,
        )

    def _symbol_info_tick(self, symbol: str) -> Any:
        if symbol == "SLEEPY" and self.gate is not None:
            self.gate.wait(30)
        return struct("Tick", time=self.broker_time, bid=self.bid, ask=self.bid + 0.0002)

    def _symbol_select(self, symbol: str, enable: bool = True) -> bool:
        del enable
        self.error = self.error if symbol == "EURUSD" else (-1, "Terminal: Call failed")
        return symbol == "EURUSD"

    def _copy_rates_from_pos(self, symbol: str, timeframe: int, start: int, count: int) -> Any:
        del symbol, timeframe, start
        return self.bars[-count:]

    def _positions_get(self, **filters: Any) -> Any:
        if "ticket" in filters:
            return tuple(position for position in self.positions if position.ticket == filters["ticket"])
        return tuple(self.positions)

    def _orders_get(self, **filters: Any) -> Any:
        del filters
        return tuple(self.orders)

    def _history_orders_get(self, *dates: int) -> Any:
        del dates
        return tuple(self.history)

    def _history_deals_get(self, *dates: int) -> Any:
        del dates
        return tuple(self.deals)

    def _version(self) -> Any:
        return (500, 5000, "01 Jan 2026")


class RunningWorker:
    """A worker on a Unix socket, in threads of this process."""

    def __init__(
        self,
        backend: StubBackend,
        folder: Path,
        guard: dict[str, Any] | None = None,
        epoch: int = 7,
        more: dict[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.address = f"unix:{folder}/w.sock"
        token_file = folder / "token"
        token_file.write_text(TOKEN)
        self.config_file = folder / "worker.json"
        self.config_file.write_text(
            json.dumps(
                {
                    "terminal_id": "ter_1",
                    "epoch": epoch,
                    "listen": self.address,
                    "backend": "simulated",
                    "backend_options": {},
                    "login": LOGIN,
                    "server": SERVER,
                    "journal": str(folder / "journal.sqlite3"),
                    "token_file": str(token_file),
                    "guard": guard or {},
                    "log_file": str(folder / "worker.log"),
                }
                | (more or {})
            )
        )
        self._worker = Worker(load_worker_config(self.config_file), TOKEN, backend)
        self._thread = threading.Thread(target=self._worker.run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        eventually((self.folder / "w.sock").exists)

    def stop(self) -> None:
        self._worker.stop()
        self._thread.join(20)


@contextlib.contextmanager
def running_worker(backend: StubBackend, **options: Any) -> Iterator[RunningWorker]:
    """A worker on a fresh short folder, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as folder:
        worker = RunningWorker(backend, Path(folder), **options)
        worker.start()
        try:
            yield worker
        finally:
            worker.stop()
