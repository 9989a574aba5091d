"""The engine the plain way: everything is looked at on every tick. What the fast way must not differ from."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mt5_bridge.simulated.engine import day_end
from mt5_bridge.simulated.engine.exchange import Exchange
from mt5_bridge.simulated.engine.model import Quote
from mt5_bridge.simulated.market.bars import Array


class PlainExchange(Exchange):
    """Knows no levels, zones or moments of its own: it goes from tick to tick and asks every rule each time."""

    _next_day_end = math.inf

    def advance(self, batch: Mapping[str, Array], until_msc: int) -> None:
        """One tick after the other; those of a moment in the order of the symbols."""
        rows = [
            (int(row["time_msc"]), order, number, name, row)
            for order, (name, ticks) in enumerate(batch.items())
            for number, row in enumerate(ticks)
        ]
        for time_msc, _, _, name, row in sorted(rows, key=lambda one: one[:3]):
            self.tick(name, Quote(float(row["bid"]), float(row["ask"]), time_msc, float(row["last"])))
        self.pass_time(until_msc)

    def tick(self, name: str, quote: Quote) -> None:
        """Orders and stops of the symbol, then the stop out of everybody."""
        self.pass_time(quote.time_msc)
        self.book.quotes[name] = quote
        self._act(name)
        for account in self.book.accounts.values():
            if account.positions:
                self._stop_out(account)

    def pass_time(self, until_msc: int) -> None:
        """Ends of days and of orders, each at its own moment."""
        while (moment := min(self._day_end(), self._first_expiration())) <= until_msc:
            self.book.now_msc = max(self.book.now_msc, int(moment))
            if moment == self._next_day_end:
                day_end.end_day(self.book)
                self._next_day_end = math.inf
            self._expire(int(moment))
        self.book.now_msc = max(self.book.now_msc, until_msc)

    def _day_end(self) -> float:
        if not any(one.positions or one.orders for one in self.book.accounts.values()):
            self._next_day_end = math.inf
        elif self._next_day_end == math.inf:
            self._next_day_end = day_end.next_day_end(self.book.now_msc)
        return self._next_day_end

    def _first_expiration(self) -> float:
        orders = [order for one in self.book.accounts.values() for order in one.orders.values() if order.expiration]
        moments = [self.book.specs[one.symbol].sessions.next_open(one.expiration) * 1000 for one in orders]
        return min(moments, default=math.inf)
