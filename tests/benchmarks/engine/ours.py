"""The farm's engine on the scene, in the ways in which it is used."""

from __future__ import annotations

import time
from typing import Any

from mt5_bridge.simulated.engine import views
from mt5_bridge.simulated.engine.exchange import Exchange
from mt5_bridge.simulated.engine.model import Account, Quote
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.symbols import specification
from tests.benchmarks.engine.scene import COUNT, DEPOSIT, LEVERAGE, SYMBOL, Ticks, requests

_LOGIN = 1
_DONE = 10009


class Stage:
    """An exchange with one account that holds the scene's positions and orders."""

    def __init__(self, ticks: Ticks) -> None:
        first = ticks[0]
        bid, ask, time_msc = float(first["bid"]), float(first["ask"]), int(first["time_msc"])
        self.exchange = Exchange({SYMBOL: specification(SYMBOL)}, [], time_msc)
        self.account = Account(_LOGIN, "bench", "USD", LEVERAGE)
        self.exchange.set_quote(SYMBOL, Quote(bid, ask, time_msc))
        self.exchange.open_account(self.account, DEPOSIT)
        for number, request in enumerate(requests(bid, ask)):
            done = self.exchange.send(_LOGIN, Request.of(request), number)
            if done.retcode != _DONE:
                raise RuntimeError(f"{request} was refused: {done.retcode}")
        self._ticks = ticks

    def batch(self) -> None:
        """All at once, as the broker's server does."""
        self.exchange.advance({SYMBOL: self._ticks}, int(self._ticks[-1]["time_msc"]))

    def single(self) -> None:
        """One by one, with a strategy called after each (it does nothing)."""
        for _ in self.exchange.ticks({SYMBOL: self._ticks}):
            _nothing()

    def account_each(self) -> None:
        """One by one, and the account's sums read after each."""
        book, account = self.exchange.book, self.account
        for _ in self.exchange.ticks({SYMBOL: self._ticks}):
            book.valuation.state(account)
            _nothing()

    def everything_each(self) -> None:
        """One by one, and account, positions and orders read as the API gives them after each."""
        book, account = self.exchange.book, self.account
        for _ in self.exchange.ticks({SYMBOL: self._ticks}):
            views.account_info(book, account, "", "")
            views.positions(book, account, {})
            views.orders(book, account, {})

    def outcome(self) -> dict[str, Any]:
        """What is to agree with the other engine."""
        state = self.exchange.book.valuation.state(self.account)
        assert len(self.account.positions) == len(self.account.orders) == COUNT
        return {"profit": state.profit, "positions": len(self.account.positions), "orders": len(self.account.orders)}


def _nothing() -> None:
    """A strategy that does nothing."""


def measure(ticks: Ticks, way: str) -> tuple[float, dict[str, Any]]:
    """Processor seconds for a pass through the ticks, and what it ends with."""
    stage = Stage(ticks)
    begun = time.thread_time()
    getattr(stage, way)()
    return time.thread_time() - begun, stage.outcome()
