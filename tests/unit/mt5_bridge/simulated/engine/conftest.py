"""A trading desk for tests: one account at an exchange whose quotes the test moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mt5_bridge.simulated.engine import views
from mt5_bridge.simulated.engine.exchange import Exchange
from mt5_bridge.simulated.engine.model import Account, Quote
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.symbols import specification
from mt5_bridge.structs import TICKS_DTYPE, Struct

LOGIN = 5001
MONDAY_NOON = 1_758_542_400  # 2025-09-22 12:00, a Monday


class Desk:
    """EURUSD at 1.10000 / 1.10010, USDJPY at 150.000 / 150.010, a Monday noon; 10000 USD, leverage 100, hedging."""

    def __init__(self, balance: float = 10_000.0, **changes: Any) -> None:
        specs = {name: specification(name) for name in ("EURUSD", "USDJPY")}
        specs["EURUSD"] = replace(specs["EURUSD"], **changes)
        self.exchange = Exchange(specs, [], MONDAY_NOON * 1000)
        self.book = self.exchange.book
        self.exchange.set_quote("EURUSD", Quote(1.10000, 1.10010, MONDAY_NOON * 1000))
        self.exchange.set_quote("USDJPY", Quote(150.0, 150.01, MONDAY_NOON * 1000))
        self.account = Account(LOGIN, "Test", "USD", 100)
        self.exchange.open_account(self.account, balance)
        self._request_id = 0

    def send(self, **fields: Any) -> Struct:
        """Send a request; `symbol` is EURUSD unless given."""
        self._request_id += 1
        return self.exchange.send(LOGIN, Request.of({"symbol": "EURUSD"} | fields), self._request_id)

    def deal(self, kind: int = 0, volume: float = 0.1, **fields: Any) -> Struct:
        """A market deal with IOC filling, magic 7, comment t."""
        return self.send(
            **({"action": 1, "type": kind, "volume": volume, "type_filling": 1, "magic": 7, "comment": "t"} | fields)
        )

    def pending(self, kind: int, price: float, volume: float = 0.1, **fields: Any) -> Struct:
        """A pending order."""
        return self.send(**({"action": 5, "type": kind, "price": price, "volume": volume, "type_filling": 2} | fields))

    def check(self, **fields: Any) -> Struct:
        """An order_check of a market deal."""
        base = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type_filling": 1}
        return self.exchange.check(LOGIN, Request.of(base | fields))

    def move(self, *quotes: tuple[float, float], symbol: str = "EURUSD") -> None:
        """Let ticks pass, a second each, as one batch."""
        ticks = np.zeros(len(quotes), TICKS_DTYPE)
        start = self.book.now_msc
        ticks["time_msc"] = start + 1000 * np.arange(1, len(quotes) + 1)
        ticks["bid"], ticks["ask"] = np.array(quotes).T
        self.exchange.advance({symbol: ticks}, int(ticks["time_msc"][-1]))

    def positions(self, **filters: Any) -> tuple[Struct, ...]:
        """positions_get."""
        return views.positions(self.book, self.account, filters)

    def orders(self, **filters: Any) -> tuple[Struct, ...]:
        """orders_get."""
        return views.orders(self.book, self.account, filters)

    def info(self) -> Struct:
        """account_info."""
        return views.account_info(self.book, self.account, "Server", "Company")

    def facts(self) -> tuple[Any, ...]:
        """What a refusal must leave as it is."""
        return self.positions(), self.orders(), self.account.balance, len(self.account.history), len(self.account.deals)


@pytest.fixture
def desk() -> Desk:
    """A desk with the usual symbol."""
    return Desk()


@pytest.fixture(scope="session")
def desk_with() -> type[Desk]:
    """Makes desks whose EURUSD differs, or with another balance."""
    return Desk
