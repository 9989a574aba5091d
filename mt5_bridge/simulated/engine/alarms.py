"""When the engine must look: the prices and moments before which nothing can happen.

A tick that reaches no level, and comes before the next moment, changes nothing but the quote. So most ticks need no
more than this comparison, and `Exchange` steps over whole stretches of them.
"""

from __future__ import annotations

import math

from mt5_bridge.simulated.engine import day_end
from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.model import Account, Quote
from mt5_bridge.simulated.engine.safety import Zone, safe_zone
from mt5_bridge.simulated.engine.triggers import NO_LEVELS, NO_WATCH, Levels, Watch, levels_of

_PATIENCE = 16
"""So many ticks an account without a zone is looked at one by one before a zone is sought again."""


class Alarms:
    """Kept up to date by `refresh`, which only looks at what has changed."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._levels: dict[str, Levels] = {}
        self._zones: dict[int, Zone] = {}
        self._watches: dict[str, Watch] = {}
        self._calm: dict[str, Levels] = {}
        self._expirations: dict[str, int] = {}
        self._unsafe: dict[int, int] = {}
        self._day_end: float = math.inf
        self.next_moment: float = -math.inf
        """Market time (ms) at which the day ends or an order does, infinity if nothing is due."""

    @property
    def every_tick(self) -> bool:
        """Whether each tick must be looked at, for some account is too near its stop out."""
        return bool(self._unsafe)

    def watch(self, name: str) -> Watch:
        """What to watch at a symbol."""
        return self._watches.get(name, NO_WATCH)

    def calm(self, name: str) -> Levels | None:
        """Levels of quotes between which a tick does nothing whatever its last price; None if there are none such."""
        return self._calm.get(name)

    def refresh(self) -> None:
        """Take in what has changed in the book."""
        book = self._book
        if not book.stale_levels and not book.stale_accounts:
            return
        changed = set(book.stale_levels)
        for name in book.stale_levels:
            self._refresh_symbol(name)
        book.stale_levels.clear()
        for login in book.stale_accounts:
            changed |= self._refresh_account(book.accounts[login])
        book.stale_accounts.clear()
        for name in changed:
            self._watches[name] = self._watch_of(name)
        self._calm = {}
        if not self._unsafe:
            self._calm = {name: one.quotes for name, one in self._watches.items() if one.deals == NO_LEVELS}
        self._refresh_day_end()

    def _refresh_symbol(self, name: str) -> None:
        book = self._book
        orders = book.orders_of[name].values()
        self._levels[name] = levels_of(book.positions_of[name].values(), orders)
        self._expirations.pop(name, None)
        ends = [order.expiration for order in orders if order.expiration]
        if ends:
            # Outside of sessions nothing is done: the order goes when the symbol trades again (rule M6).
            self._expirations[name] = book.specs[name].sessions.next_open(min(ends)) * 1000

    def _refresh_account(self, account: Account) -> set[str]:
        """Look for the account's zone anew; returns the symbols of the old and the new one."""
        login = account.login
        old = self._zones.pop(login, {})
        self._unsafe.pop(login, None)
        if not account.positions:
            return set(old)
        zone = safe_zone(self._book, account)
        if zone is None:
            self._unsafe[login] = _PATIENCE
            return set(old)
        self._zones[login] = zone
        return {*old, *zone}

    def _watch_of(self, name: str) -> Watch:
        safe = NO_LEVELS
        for zone in self._zones.values():
            if name in zone:
                safe = safe.nearest(zone[name])
        levels = self._levels.get(name, NO_LEVELS)
        spec = self._book.specs.get(name)
        if spec is not None and spec.on_exchange:
            return Watch(safe, levels)
        return Watch(safe.nearest(levels))

    def _refresh_day_end(self) -> None:
        """The next midnight of the broker's clock matters if anybody holds anything then."""
        book = self._book
        if not any(book.positions_of.values()) and not any(book.orders_of.values()):
            self._day_end = math.inf
        elif self._day_end == math.inf:
            self._day_end = day_end.next_day_end(book.now_msc)
        self.next_moment = min((self._day_end, *self._expirations.values()))

    def take_day_end(self, now_msc: int) -> bool:
        """Whether the day ends now; the next one is then waited for."""
        if self._day_end != now_msc:
            return False
        self._day_end = day_end.next_day_end(now_msc)
        self._refresh_day_end()
        return True

    def endangered(self, name: str, quote: Quote) -> list[Account]:
        """The accounts that the tick may have brought to their stop out. Their zones are sought anew after it."""
        book = self._book
        found = set(book.stale_accounts)
        for login, zone in self._zones.items():
            levels = zone.get(name)
            if levels is not None and levels.reached(quote.bid, quote.ask):
                found.add(login)
        book.stale_accounts.update(found)
        for login, patience in self._unsafe.items():
            found.add(login)
            self._unsafe[login] = patience - 1
            if patience <= 1:
                book.stale_accounts.add(login)
        if not found:
            return []
        return [one for one in book.accounts.values() if one.login in found and one.positions]
