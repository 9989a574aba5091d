"""A broker, its terminal and a program beside it in one process, with a market that the test moves by hand.

Everything but the market is the real thing: sockets, frames, logins, the terminal, the backend.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mt5_bridge.backends.simulated import SimulatedBackend
from mt5_bridge.client import orders
from mt5_bridge.contract import CONSTANTS, FUNCTIONS, PACKAGE_AUTHOR, PACKAGE_VERSION, Style
from mt5_bridge.simulated.admin import BrokerAdmin
from mt5_bridge.simulated.broker import Broker
from mt5_bridge.simulated.engine.conventions import Conventions
from mt5_bridge.simulated.installations import Installations
from mt5_bridge.simulated.ipc import IpcServer
from mt5_bridge.simulated.market.bars import Array, minute_bars
from mt5_bridge.simulated.market.market import Market, NothingMore
from mt5_bridge.simulated.market.series import Series
from mt5_bridge.simulated.market.synthetic import tick_flags
from mt5_bridge.simulated.quote_board import QuoteBoard
from mt5_bridge.simulated.serving import Server
from mt5_bridge.simulated.store import Store
from mt5_bridge.simulated.symbols import EXCH_STOCKS, EXCHANGE_EXECUTION, SymbolSpec, specification
from mt5_bridge.simulated.terminal import Terminal
from mt5_bridge.simulated.terminal_folder import Journal, read_startup
from mt5_bridge.structs import STRUCT_CLASSES, TICKS_DTYPE
from tests.trading_desk import MONDAY_NOON

LOGIN, PASSWORD, SERVER = 5001, "secret-pw", "MT5Farm-Demo"
OPENING = {"EURUSD": (1.1, 1.1001), "GBPUSD": (1.27, 1.2701), "USDJPY": (150.0, 150.01), "EURJPY": (165.0, 165.02)}
STOCK = SymbolSpec(
    "ACME",
    "A stock",
    "Stocks\\ACME",
    2,
    1.0,
    "USD",
    "USD",
    "USD",
    calc_mode=EXCH_STOCKS,
    execution=EXCHANGE_EXECUTION,
    chart_mode=1,
    filling_mode=7,
)
HISTORY_SECONDS = 3 * 86_400


class Api:
    """The module under test, over a backend."""

    __version__ = PACKAGE_VERSION
    __author__ = PACKAGE_AUTHOR

    def __init__(self, backend: SimulatedBackend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in STRUCT_CLASSES:
            return STRUCT_CLASSES[name]
        if name in FUNCTIONS and FUNCTIONS[name].style is not Style.PYTHON:
            return lambda *args, **kwargs: self._backend.call(name, args, kwargs)
        raise AttributeError(name)

    def Buy(self, symbol: Any, volume: Any, price: Any = None, *, comment: Any = None, ticket: Any = None) -> Any:
        return orders.deal(self, 0, symbol, volume, price, comment, ticket)

    def Sell(self, symbol: Any, volume: Any, price: Any = None, *, comment: Any = None, ticket: Any = None) -> Any:
        return orders.deal(self, 1, symbol, volume, price, comment, ticket)

    def Close(self, symbol: Any, *, comment: Any = None, ticket: Any = None) -> Any:
        return orders.close(self, symbol, comment, ticket)


class HandBroker(Broker):
    """A broker whose market stands still until the test moves it."""

    def advance(self, wall: float) -> float:
        """Nothing: `pass_time` moves the market."""
        del wall
        return 0.05

    def pass_time(self, fresh: Mapping[str, Array], seconds: float) -> None:
        """Let new ticks and so many seconds pass."""
        until = self.book.now_msc + round(seconds * 1000)
        for name, ticks in fresh.items():
            bars = np.empty(0, minute_bars(ticks[:0], 1.0).dtype)
            self.market.series[name].extend(ticks, bars, keep_ticks_from_msc=0, keep_bars=100_000)
        self.exchange.advance(self.market.release(until), until)
        self._store.save(self.book, self.book.take_changes())


def _history(spec: SymbolSpec, bid: float, ask: float) -> Series:
    """Three days of a tick every 20 seconds inside the sessions, the last one at the price given."""
    moments = (MONDAY_NOON - HISTORY_SECONDS) * 1000 + 20_000 * np.arange(HISTORY_SECONDS // 20 + 1)
    moments = moments[spec.quoted.open_mask(moments)]
    walk = np.cumsum(np.random.default_rng(7).integers(-3, 4, len(moments)))
    points = np.rint(bid / spec.point) + walk - walk[-1]
    ticks = np.zeros(len(moments), TICKS_DTYPE)
    ticks["time_msc"], ticks["time"] = moments, moments // 1000
    ticks["bid"] = points / round(1 / spec.point)
    ticks["ask"] = (points + round((ask - bid) / spec.point)) / round(1 / spec.point)
    ticks["flags"] = tick_flags(ticks["bid"], ticks["ask"])
    if spec.on_exchange:
        ticks["last"] = ticks["bid"]
        ticks["volume"] = ticks["volume_real"] = 5
        ticks["flags"] |= 8 | 16
    ticks = ticks[ticks["flags"] != 0]
    of_last = bool(spec.chart_mode)
    return Series(spec.point, ticks, minute_bars(ticks, spec.point, of_last=of_last), of_last=of_last)


class Stage:
    """Account 5001 with 10000 USD, hedging, at EURUSD 1.10000 / 1.10010; `mt5` is connected unless told otherwise."""

    def __init__(
        self, *, startup: str = "", conventions: dict[str, Any] | None = None, symbols: dict[str, Any] | None = None
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="m5", dir="/tmp")
        self.folder = Path(self._temporary.name)
        self._conventions = Conventions(**(conventions or {}))
        self._symbols = symbols or {}
        self._loop = asyncio.new_event_loop()
        self._store_path = self.folder / "broker.sqlite3"
        self._stores: list[Store] = []
        self._market = self._make_market()
        self._servers: list[Server] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.until(lambda: self._servers and self._servers[0].address)
        self.server = self._servers[0]
        self.admin = BrokerAdmin(self.server.address, "admin-token")
        self.admin.create_account(LOGIN, password=PASSWORD)
        self._backends: list[SimulatedBackend] = []
        self._terminals: list[tuple[Terminal, IpcServer]] = []
        self.terminal, self.ipc = self.start_terminal(startup=startup)
        self.mt5: Any = self.program()

    def _make_market(self) -> Market:
        specs = [specification(name) for name in OPENING] + [STOCK]
        specs = [replace(spec, **self._symbols.get(spec.name, {})) for spec in specs]
        prices = OPENING | {"ACME": (100.0, 100.02)}
        series = {spec.name: _history(spec, *prices[spec.name]) for spec in specs}
        return Market(specs, series, NothingMore(), MONDAY_NOON * 1000, "by hand")

    def _reopen(self) -> Broker:
        for store in self._stores:
            store.close()
        self._stores = [Store(self._store_path)]
        broker = HandBroker(
            self._market,
            self._stores[0],
            server=SERVER,
            speed=1.0,
            wall=0.0,
            conventions=self._conventions,
            board=QuoteBoard(self.folder, tuple(self._market.specs)),
        )
        self.broker = broker
        return broker

    def _serve(self) -> None:
        # The books belong to the thread that opened them.
        asyncio.set_event_loop(self._loop)
        self._servers.append(Server(self._reopen, "admin-token"))
        try:
            self._loop.run_until_complete(self._servers[0].run("127.0.0.1", 0))
        finally:
            for store in self._stores:
                store.close()

    def start_terminal(
        self, name: str = "t", *, login: int = LOGIN, password: str = PASSWORD, startup: str = ""
    ) -> Any:
        """A terminal (logged in, unless the broker says no) and its address."""
        folder = self.folder / name
        (folder / "config").mkdir(parents=True)
        account = f"[Common]\nLogin={login}\nPassword={PASSWORD}\nServer={SERVER}\n" if login else ""
        (folder / "config" / "startup.ini").write_text(account + startup)
        (folder / "config" / "servers.json").write_text(json.dumps({SERVER: self.server.address}))
        start = read_startup(folder)
        terminal = Terminal(folder, start, Journal(folder), self._conventions)
        terminal.link.start(start.credentials)
        ipc = f"unix:{folder}/ipc"
        served = IpcServer(ipc, terminal.handle)
        served.start()
        if login:
            terminal.link.wait(10.0)
        self._terminals.append((terminal, served))
        return terminal, ipc

    def program(self, ipc: str | Installations = "", *, connected: bool = True) -> Any:
        """A program beside a terminal, as a module of its own."""
        backend = SimulatedBackend(ipc or self.ipc)
        self._backends.append(backend)
        api = Api(backend)
        if connected:
            assert api.initialize() is True, api.last_error()
        return api

    def _on_loop(self, action: Callable[[], Any]) -> Any:
        async def run() -> Any:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10.0)

    def tick(self, bid: float, ask: float, *, symbol: str = "EURUSD", last: float = 0.0, seconds: float = 1.0) -> None:
        """A tick after so many seconds."""
        ticks = np.zeros(1, TICKS_DTYPE)
        ticks["time_msc"] = self.broker.book.now_msc + round(seconds * 1000)
        ticks["time"] = ticks["time_msc"] // 1000
        ticks["bid"], ticks["ask"], ticks["last"] = bid, ask, last
        ticks["flags"] = 134 if not last else 8
        self._on_loop(lambda: self.broker.pass_time({symbol: ticks}, seconds))

    def wait(self, seconds: float) -> None:
        """Let market time pass without ticks."""
        self._on_loop(lambda: self.broker.pass_time({}, seconds))

    def take_quote(self, symbol: str) -> None:
        """Leave the symbol without any quote."""
        self._on_loop(lambda: self.broker.book.quotes.pop(symbol))

    @property
    def now(self) -> int:
        """Market time (s)."""
        return self.broker.book.now_msc // 1000

    @staticmethod
    def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
        """Wait for a condition; its value."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            value = condition()
            if value:
                return value
            time.sleep(0.005)
        raise AssertionError("the condition did not come true in time")

    def close(self) -> None:
        """End everything."""
        for backend in self._backends:
            backend.close()
        for terminal, served in self._terminals:
            terminal.stop()
            served.stop()
            terminal.link.stop()
        self._loop.call_soon_threadsafe(self.server.stop)
        self._thread.join(10.0)
        self._loop.close()
        self._temporary.cleanup()


def deal(mt5: Any, **fields: Any) -> dict[str, Any]:
    """A market buy of 0.1 EURUSD at the ask, changed by `fields`."""
    request = {
        "action": mt5.TRADE_ACTION_DEAL,
        "symbol": "EURUSD",
        "volume": 0.1,
        "type": mt5.ORDER_TYPE_BUY,
        "price": 1.1001,
        "type_filling": mt5.ORDER_FILLING_IOC,
        "magic": 7,
        "comment": "t",
    }
    return request | fields


def is_struct(value: Any, name: str, length: int) -> bool:
    """Whether a value is a struct of the package with so many fields."""
    known = type(value).__name__ == name and tuple in type(value).__mro__
    return known and len(value) == length and list(value._asdict().values()) == list(value)
