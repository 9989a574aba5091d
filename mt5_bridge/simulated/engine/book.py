"""The broker's book: accounts, open orders and positions, quotes, and what changed since it was last asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mt5_bridge.simulated.engine.model import Account, Changes, Order, Position, Quote
from mt5_bridge.simulated.engine.money import Valuation
from mt5_bridge.simulated.symbols import SymbolSpec
from mt5_bridge.structs import Struct, TradeDeal

FIRST_ORDER = 1_000_001
FIRST_DEAL = 500_001


class Book:
    """Holds the state; every change goes through it so that indexes and changes agree.

    `now_msc` is the market's time: it moves with `Exchange.advance` only. `halted` is set when the market has ended.
    """

    def __init__(self, specs: Mapping[str, SymbolSpec], accounts: Iterable[Account], now_msc: int) -> None:
        self.specs = dict(specs)
        self.accounts = {account.login: account for account in accounts}
        self.quotes: dict[str, Quote] = {}
        self.valuation = Valuation(self.specs, self.quotes)
        self.now_msc = now_msc
        self.halted = False
        self.changes = Changes()
        self.stale_levels: set[str] = set(self.specs)
        self.positions_of: dict[str, dict[int, Position]] = {name: {} for name in self.specs}
        self.orders_of: dict[str, dict[int, Order]] = {name: {} for name in self.specs}
        orders, deals = [FIRST_ORDER - 1], [FIRST_DEAL - 1]
        for account in self.accounts.values():
            for position in account.positions.values():
                self.positions_of[position.symbol][position.ticket] = position
            for order in account.orders.values():
                self.orders_of[order.symbol][order.ticket] = order
            orders += [*account.orders, *account.positions, *(int(record[0]) for record in account.history)]
            deals += [int(record[0]) for record in account.deals]
        self._last_order = max(orders)
        self._last_deal = max(deals)

    def new_order_ticket(self) -> int:
        """The next number of the order sequence, which positions share (rule R2)."""
        self._last_order += 1
        return self._last_order

    def is_open(self, spec: SymbolSpec) -> bool:
        """Whether the symbol trades now (rule Q3)."""
        return not self.halted and spec.sessions.is_open(self.now_msc // 1000)

    def add_account(self, account: Account) -> None:
        """Take in a new account."""
        self.accounts[account.login] = account
        self.changes.accounts.add(account.login)

    def put_order(self, order: Order) -> None:
        """Add an active order, or note that one has changed."""
        self.accounts[order.login].orders[order.ticket] = order
        self.orders_of[order.symbol][order.ticket] = order
        self.changes.orders.add((order.login, order.ticket))
        self.stale_levels.add(order.symbol)

    def finish_order(self, order: Order, record: Struct) -> None:
        """Move an order to the history, active before or not."""
        account = self.accounts[order.login]
        if account.orders.pop(order.ticket, None) is not None:
            del self.orders_of[order.symbol][order.ticket]
            self.changes.orders.add((order.login, order.ticket))
            self.stale_levels.add(order.symbol)
        account.history.append(record)
        self.changes.history.append((order.login, record))

    def put_position(self, position: Position) -> None:
        """Add a position, or note that one has changed."""
        self.accounts[position.login].positions[position.ticket] = position
        self.positions_of[position.symbol][position.ticket] = position
        self.changes.positions.add((position.login, position.ticket))
        self.stale_levels.add(position.symbol)

    def drop_position(self, position: Position) -> None:
        """Take a closed position out."""
        del self.accounts[position.login].positions[position.ticket]
        del self.positions_of[position.symbol][position.ticket]
        self.changes.positions.add((position.login, position.ticket))
        self.stale_levels.add(position.symbol)

    def add_deal(
        self,
        account: Account,
        *,
        order: int,
        kind: int,
        entry: int,
        magic: int,
        position: int,
        reason: int,
        volume: float,
        price: float,
        swap: float,
        profit: float,
        symbol: str,
        comment: str,
    ) -> int:
        """Write a deal down and book its money; returns its ticket."""
        self._last_deal += 1
        record = TradeDeal(
            (
                self._last_deal,
                order,
                self.now_msc // 1000,
                self.now_msc,
                int(kind),
                int(entry),
                magic,
                position,
                int(reason),
                volume,
                price,
                0.0,
                swap,
                profit,
                0.0,
                symbol,
                comment,
                "",
            )
        )
        account.deals.append(record)
        account.balance = account.money(account.balance + profit + swap)
        self.changes.deals.append((account.login, record))
        self.changes.accounts.add(account.login)
        return self._last_deal

    def take_changes(self) -> Changes:
        """What changed since the last call."""
        changes, self.changes = self.changes, Changes()
        return changes
