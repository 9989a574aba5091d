"""Profit, margin and currency conversion (rules T1-T8, U1-U3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mt5_bridge.simulated.engine.model import Account, Order, Position, Quote
from mt5_bridge.simulated.engine.sums import Holding, Sums, floating_cents, holding_of, sums_of
from mt5_bridge.simulated.symbols import (
    BOND_MODES,
    CFD_INDEX,
    CFD_LEVERAGE,
    COLLATERAL,
    FOREX,
    FOREX_MODES,
    FUTURES_MODES,
    OPTION_MODES,
    SymbolSpec,
)

PIVOT = "USD"


@dataclass
class Valuation:
    """Turns prices into money with the quotes of the moment."""

    specs: Mapping[str, SymbolSpec]
    quotes: Mapping[str, Quote]
    margin_rate_side: str = "deal"

    def __post_init__(self) -> None:
        self._sums: dict[int, Sums] = {}
        self._holdings: dict[int, tuple[str, Holding | None]] = {}
        self._pairs = {
            (spec.currency_base, spec.currency_profit): spec.name
            for spec in self.specs.values()
            if spec.calc_mode in FOREX_MODES
        }

    def rate(self, source: str, target: str, *, at_bid: bool, own: tuple[str, float] | None = None) -> float:
        """Units of `target` for one `source`: by the direct pair, the inverse one, or through USD; 0 without a path.

        `own` is (symbol, price): if that symbol itself converts, its price is used and not the market's (rule U2).
        """
        if source == target:
            return 1.0
        if own is not None and own[0] == self._pairs.get((source, target)) and own[1] > 0:
            return own[1]
        direct = self._pair_rate(source, target, at_bid=at_bid, own=own)
        if direct or PIVOT in (source, target):
            return direct
        first = self._pair_rate(source, PIVOT, at_bid=at_bid, own=own)
        return first * self._pair_rate(PIVOT, target, at_bid=at_bid, own=own)

    def crosses(self, source: str, target: str) -> tuple[str, ...]:
        """The symbols whose quotes turn one currency into the other (rule D10)."""
        for legs in (((source, target),), ((source, PIVOT), (PIVOT, target))):
            names = [self._pairs.get((one, two)) or self._pairs.get((two, one)) for one, two in legs]
            if source != target and all(names):
                return tuple(name for name in names if name)
        return ()

    def pair(self, source: str, target: str) -> str | None:
        """The symbol that is quoted as units of `target` for one `source`."""
        return self._pairs.get((source, target))

    def _pair_rate(self, source: str, target: str, *, at_bid: bool, own: tuple[str, float] | None) -> float:
        for pair, inverse in (((source, target), False), ((target, source), True)):
            name = self._pairs.get(pair)
            if name is None:
                continue
            price = own[1] if own is not None and own[0] == name else self._price(name, at_bid=at_bid)
            if price > 0:
                return 1.0 / price if inverse else price
        return 0.0

    def _price(self, name: str, *, at_bid: bool) -> float:
        quote = self.quotes.get(name)
        if quote is None:
            return 0.0
        return quote.bid if at_bid else quote.ask

    def profit(
        self,
        account: Account,
        spec: SymbolSpec,
        volume: float,
        price_open: float,
        price_close: float,
        *,
        buy: bool,
        interest: float = 0.0,
    ) -> float:
        """Result in the account currency of `volume` lots from one price to the other (rules U1, U2).

        `interest` is what one unit of a bond has accrued in between, in the profit currency.
        """
        raw = raw_profit(spec, volume, price_open, price_close, interest)
        raw = raw if buy else -raw
        if spec.currency_profit != account.currency:
            raw *= self.rate(spec.currency_profit, account.currency, at_bid=buy, own=(spec.name, price_close))
        return round(raw, account.currency_digits)

    def margin_per_lot(
        self, account: Account, spec: SymbolSpec, price: float, *, buy: bool, maintenance: bool = False
    ) -> float:
        """Margin of one lot in the account currency, not rounded (rules T1-T5).

        With `maintenance` the one to keep the position, where the symbol tells it from the one to open it.
        """
        fixed = (spec.margin_maintenance if maintenance else 0.0) or spec.margin_initial
        base = base_margin(spec, price, max(1, account.leverage), fixed)
        at_bid = buy is not (self.margin_rate_side == "deal")
        rate = self.rate(spec.currency_margin, account.currency, at_bid=at_bid, own=(spec.name, price))
        return base * rate * (spec.margin_rate_buy if buy else spec.margin_rate_sell)

    def order_margin(self, account: Account, order: Order) -> float:
        """Margin in the account currency that a pending order reserves (rule T7), not rounded."""
        spec = self.specs[order.symbol]
        if not spec.margin_rate_pending:
            return 0.0
        per_lot = self.margin_per_lot(account, spec, order.price, buy=order.kind.is_buy)
        return spec.margin_rate_pending * order.volume * per_lot

    def floating(self, account: Account, position: Position) -> tuple[float, float]:
        """Price at which the position would close now, and its profit then. Without quotes: its open price and 0."""
        quote = self.quotes.get(position.symbol)
        if quote is None:
            return position.price_open, 0.0
        price = quote.bid if position.buy else quote.ask
        spec = self.specs[position.symbol]
        volume, opened, interest = position.volume, position.price_open, position.interest
        return price, self.profit(account, spec, volume, opened, price, buy=position.buy, interest=interest)

    def state(self, account: Account, positions: Collection[Position] | None = None) -> AccountState:
        """The account's sums (rule H1), with the margin of its own positions or of others in their place."""
        if positions is None and not account.positions and not account.orders:
            return AccountState(0.0, round(account.balance + account.credit, account.currency_digits), 0.0)
        sums = self._summed(account)
        profit = self._floating(account, sums)
        digits = account.currency_digits
        equity = round(account.balance + account.credit + profit + sums.swap, digits)
        return AccountState(round(profit, digits), equity, self.margin_with(account, positions))

    def margin_with(self, account: Account, positions: Collection[Position] | None) -> float:
        """Margin of these positions, or of the account's own, and of its pending orders."""
        sums = self._summed(account)
        margin = sums.margin if positions is None else self.margin(positions)
        if sums.reserves:
            margin += sum(self.order_margin(account, order) for order in account.orders.values())
        return round(margin, account.currency_digits)

    def equity(self, account: Account) -> float:
        """The equity of `state` alone."""
        sums = self._summed(account)
        profit = self._floating(account, sums)
        return round(account.balance + account.credit + profit + sums.swap, account.currency_digits)

    def holding(self, account: Account, name: str) -> Holding | None:
        """The account's worth at any quote of one symbol; None where that takes more than a product.

        The same object until its money or what it holds changes.
        """
        found = self._holdings.get(account.login)
        if found is None or found[0] != name:
            found = (name, holding_of(account, self.specs, name))
            self._holdings[account.login] = found
        return found[1]

    def _summed(self, account: Account) -> Sums:
        sums = self._sums.get(account.login)
        if sums is None:
            sums = sums_of(account, self.specs, self.margin(account.positions.values()))
            self._sums[account.login] = sums
        return sums

    def _floating(self, account: Account, sums: Sums) -> float:
        """Profit of all positions, not rounded."""
        whole = floating_cents(sums, self.quotes)
        if whole is None:
            return sum(self.floating(account, one)[1] for one in account.positions.values())
        profit = whole / 100.0
        for position in sums.others:
            profit += self.floating(account, position)[1]
        return profit

    def forget(self, login: int) -> None:
        """The account's holdings have changed: what was added up holds no longer."""
        self._sums.pop(login, None)
        self._holdings.pop(login, None)

    def forget_all(self) -> None:
        """Symbols have changed."""
        self._sums.clear()
        self._holdings.clear()

    def margin(self, positions: Collection[Position]) -> float:
        """Margin of positions (rules T7, T8), not rounded. A net position is one that nothing covers."""
        if len(positions) <= 1:
            return sum((one.volume * one.margin_per_lot for one in positions), 0.0)
        by_symbol: dict[str, list[Position]] = {}
        for position in positions:
            by_symbol.setdefault(position.symbol, []).append(position)
        return sum((_hedged_margin(self.specs[name], held) for name, held in by_symbol.items()), 0.0)

    def tick_value(self, account_currency: str, spec: SymbolSpec, *, profit: bool) -> float:
        """Money of one tick for one lot in the account currency; the two sides differ by the conversion (rule U3)."""
        quote = self.quotes.get(spec.name)
        own = None if quote is None else (spec.name, quote.bid if profit else quote.ask)
        return spec.tick_money * self.rate(spec.currency_profit, account_currency, at_bid=profit, own=own)


class AccountState(NamedTuple):
    """Floating profit, equity and margin, in the account currency and rounded."""

    profit: float
    equity: float
    margin: float

    @property
    def level(self) -> float:
        """Margin level in percent, 0.0 without margin."""
        return self.equity / self.margin * 100.0 if self.margin else 0.0


def raw_profit(spec: SymbolSpec, volume: float, price_open: float, price_close: float, interest: float = 0.0) -> float:
    """Result of a buy in the profit currency, by calculation mode (rule U1)."""
    size = spec.contract_size * volume
    mode = spec.calc_mode
    if mode in FOREX_MODES:
        return round(price_close * size, 2) - round(price_open * size, 2)
    if mode in FUTURES_MODES or mode in OPTION_MODES:
        return (price_close - price_open) * volume * spec.tick_money / spec.tick_size
    if mode in BOND_MODES:
        # The interest accrued before the bond was bought is in both legs.
        return size * (price_close * spec.face_value + interest) - size * (price_open * spec.face_value)
    if mode == COLLATERAL:
        return 0.0
    return (price_close - price_open) * size


def base_margin(spec: SymbolSpec, price: float, leverage: int, fixed: float) -> float:
    """Margin of one lot in the margin currency (rules T1, T2); `fixed` replaces the formula where it is not 0."""
    mode = spec.calc_mode
    divisor = leverage if mode in (FOREX, CFD_LEVERAGE) else 1
    if mode == COLLATERAL:
        return 0.0
    if fixed or mode in FUTURES_MODES:
        return fixed / divisor
    if mode in FOREX_MODES:
        return spec.contract_size / divisor
    if mode == CFD_INDEX:
        return spec.contract_size * price * (spec.tick_value / spec.tick_size if spec.tick_value else 1.0)
    if mode in BOND_MODES:
        return spec.contract_size * spec.face_value * price / 100.0
    return spec.contract_size * price / divisor


def _hedged_margin(spec: SymbolSpec, held: list[Position]) -> float:
    bought = sold = buy_money = sell_money = 0.0
    for one in held:
        if one.buy:
            bought += one.volume
            buy_money += one.volume * one.margin_per_lot
        else:
            sold += one.volume
            sell_money += one.volume * one.margin_per_lot
    if spec.margin_hedged_use_leg:
        return max(buy_money, sell_money)
    larger, covered = max(bought, sold), min(bought, sold)
    total = (buy_money if bought >= sold else sell_money) * (1 - covered / larger) if larger else 0.0
    if covered:
        mean = (buy_money + sell_money) / (bought + sold)
        whole = spec.margin_initial or spec.contract_size
        total += covered * mean * (spec.hedged / whole)
    return total
