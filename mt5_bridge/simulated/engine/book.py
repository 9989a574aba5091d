"""The broker's book: accounts, open orders and positions, quotes, and what changed since it was last asked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from mt5_bridge.simulated.engine.conventions import USUAL, Conventions
from mt5_bridge.simulated.engine.model import DEAL_CREDIT, Account, Changes, Order, Position, Quote
from mt5_bridge.simulated.engine.money import Valuation
from mt5_bridge.simulated.symbols import SymbolSpec
from mt5_bridge.structs import Struct, TradeDeal, unchecked

FIRST_ORDER = 1_000_001
FIRST_DEAL = 500_001


class Book:
    """Holds the state; every change goes through it so that indexes and changes agree.

    `now_msc` is the market's time: it moves with `Exchange.advance` only. `halted` is set when the market has ended.
    """

    def __init__(
        self,
        specs: Mapping[str, SymbolSpec],
        accounts: Iterable[Account],
        now_msc: int,
        conventions: Conventions = USUAL,
    ) -> None:
        self.conventions = conventions
        self.specs = dict(specs)
        self.accounts = {account.login: account for account in accounts}
        self.quotes: dict[str, Quote] = {}
        self.valuation = Valuation(self.specs, self.quotes, conventions.margin_rate_side)
        self.now_msc = now_msc
        self.halted = False
        self.changes = Changes()
        self._taken: dict[tuple[str, bool], tuple[Quote, float]] = {}
        self.stale_levels: set[str] = set(self.specs)
        """Symbols whose orders or positions have changed since somebody looked at their levels."""
        self.stale_accounts: set[int] = set(self.accounts)
        """Accounts whose money or holdings have changed since somebody looked at their stop out."""
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

    def available(self, spec: SymbolSpec, *, buy: bool) -> float:
        """Lots that can be filled on a side at the current tick (rule M4)."""
        if spec.liquidity is None:
            return math.inf
        seen, taken = self._taken.get((spec.name, buy), (None, 0.0))
        return max(0.0, spec.liquidity - taken) if seen == self.quotes.get(spec.name) else spec.liquidity

    def take(self, spec: SymbolSpec, volume: float, *, buy: bool) -> None:
        """Note that a side of the market has filled `volume` lots at the current tick."""
        quote = self.quotes.get(spec.name)
        if spec.liquidity is not None and quote is not None:
            left = self.available(spec, buy=buy)
            self._taken[spec.name, buy] = (quote, spec.liquidity - left + volume)

    def set_spec(self, spec: SymbolSpec) -> None:
        """Lay a symbol down anew; orders and positions stay as they are."""
        self.specs[spec.name] = spec
        self.stale_levels.add(spec.name)
        self.stale_accounts.update(self.accounts)
        self.valuation.forget_all()

    def set_quote(self, name: str, quote: Quote) -> None:
        """Set prices that do not act: what was concluded from the old ones holds no longer."""
        self.quotes[name] = quote
        self.stale_accounts.update(self.accounts)

    def note_account(self, login: int) -> None:
        """Note that an account's money or settings have changed."""
        self.changes.accounts.add(login)
        self._touch(login)

    def _touch(self, login: int) -> None:
        self.stale_accounts.add(login)
        self.valuation.forget(login)

    def add_account(self, account: Account) -> None:
        """Take in a new account."""
        self.accounts[account.login] = account
        self.note_account(account.login)

    def put_order(self, order: Order) -> None:
        """Add an active order, or note that one has changed."""
        self.accounts[order.login].orders[order.ticket] = order
        self.orders_of[order.symbol][order.ticket] = order
        self.changes.orders.add((order.login, order.ticket))
        self._touch(order.login)
        self.stale_levels.add(order.symbol)

    def finish_order(self, order: Order, record: Struct) -> None:
        """Move an order to the history, active before or not."""
        account = self.accounts[order.login]
        if account.orders.pop(order.ticket, None) is not None:
            del self.orders_of[order.symbol][order.ticket]
            self.changes.orders.add((order.login, order.ticket))
            self._touch(order.login)
            self.stale_levels.add(order.symbol)
        account.history.append(record)
        self.changes.history.append((order.login, record))

    def put_position(self, position: Position) -> None:
        """Add a position, or note that one has changed."""
        self.accounts[position.login].positions[position.ticket] = position
        self.positions_of[position.symbol][position.ticket] = position
        self.changes.positions.add((position.login, position.ticket))
        self._touch(position.login)
        self.stale_levels.add(position.symbol)

    def drop_position(self, position: Position) -> None:
        """Take a closed position out."""
        del self.accounts[position.login].positions[position.ticket]
        del self.positions_of[position.symbol][position.ticket]
        self.changes.positions.add((position.login, position.ticket))
        self._touch(position.login)
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
        commission: float = 0.0,
        fee: float = 0.0,
    ) -> int:
        """Write a deal down and book its money; returns its ticket."""
        self._last_deal += 1
        record = unchecked(
            TradeDeal,
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
                commission,
                swap,
                profit,
                fee,
                symbol,
                comment,
                "",
            ),
        )
        account.deals.append(record)
        if kind == DEAL_CREDIT:
            account.credit = account.money(account.credit + profit)
        else:
            account.balance = account.money(account.balance + profit + swap + commission + fee)
        self.changes.deals.append((account.login, record))
        self.note_account(account.login)
        return self._last_deal

    def take_changes(self) -> Changes:
        """What changed since the last call."""
        changes, self.changes = self.changes, Changes()
        return changes
