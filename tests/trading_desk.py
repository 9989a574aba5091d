"""A trading desk for tests: one account at an exchange whose quotes the test moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mt5_bridge.simulated.engine import views
from mt5_bridge.simulated.engine.conventions import Conventions
from mt5_bridge.simulated.engine.exchange import Exchange
from mt5_bridge.simulated.engine.model import Account, Quote
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.symbols import SymbolSpec, specification
from mt5_bridge.structs import TICKS_DTYPE, Struct

LOGIN = 5001
MONDAY_NOON = 1_758_542_400  # 2025-09-22 12:00, a Monday


class Desk:
    """EURUSD at 1.10000 / 1.10010, USDJPY at 150.000 / 150.010, a Monday noon; 10000 USD, leverage 100, hedging.

    `changes` are for EURUSD, `account` for the account; `conventions` stand for the usual ones.
    """

    def __init__(
        self,
        balance: float = 10_000.0,
        *,
        account: dict[str, Any] | None = None,
        conventions: dict[str, Any] | None = None,
        start: int = MONDAY_NOON,
        **changes: Any,
    ) -> None:
        specs = {name: specification(name) for name in ("EURUSD", "USDJPY")}
        specs["EURUSD"] = replace(specs["EURUSD"], **changes)
        self.exchange = Exchange(specs, [], start * 1000, Conventions(**(conventions or {})))
        self.book = self.exchange.book
        self.quote(1.10000, 1.10010)
        self.exchange.set_quote("USDJPY", Quote(150.0, 150.01, start * 1000))
        self.account = Account(LOGIN, "Test", "USD", 100, **(account or {}))
        self.exchange.open_account(self.account, balance)
        self._request_id = 0

    @property
    def spec(self) -> SymbolSpec:
        """EURUSD as it is laid down now."""
        return self.book.specs["EURUSD"]

    def change(self, **changes: Any) -> None:
        """Lay EURUSD down anew."""
        self.book.set_spec(replace(self.spec, **changes))

    def quote(self, bid: float, ask: float, last: float = 0.0) -> None:
        """Set EURUSD's prices without letting them act."""
        self.exchange.set_quote("EURUSD", Quote(bid, ask, self.book.now_msc, last))

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

    def move(self, *quotes: tuple[float, ...], symbol: str = "EURUSD") -> None:
        """Let ticks (bid, ask[, last]) pass, a second each, as one batch."""
        ticks = np.zeros(len(quotes), TICKS_DTYPE)
        start = self.book.now_msc
        ticks["time_msc"] = start + 1000 * np.arange(1, len(quotes) + 1)
        for name, prices in zip(("bid", "ask", "last"), np.array(quotes).T, strict=False):
            ticks[name] = prices
        self.exchange.advance({symbol: ticks}, int(ticks["time_msc"][-1]))

    def wait(self, seconds: int) -> None:
        """Let time pass without ticks."""
        self.exchange.advance({}, self.book.now_msc + seconds * 1000)

    def sltp(self, position: int, sl: float = 0.0, tp: float = 0.0, **fields: Any) -> Struct:
        """A change of a position's stops."""
        return self.send(action=6, position=position, sl=sl, tp=tp, **fields)

    @property
    def last_deal(self) -> Struct:
        """The newest deal."""
        return self.account.deals[-1]

    @property
    def last_order(self) -> Struct:
        """The order that was done last."""
        return self.account.history[-1]

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
