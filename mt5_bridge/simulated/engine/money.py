"""Profit, margin and currency conversion (rules T1-T8, U1-U3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mt5_bridge.simulated.engine.model import Account, Position, Quote
from mt5_bridge.simulated.symbols import (
    CFD,
    CFD_INDEX,
    CFD_LEVERAGE,
    FOREX,
    FOREX_NO_LEVERAGE,
    SymbolSpec,
)

PIVOT = "USD"


@dataclass
class Valuation:
    """Turns prices into money with the quotes of the moment."""

    specs: Mapping[str, SymbolSpec]
    quotes: Mapping[str, Quote]

    def __post_init__(self) -> None:
        self._pairs = {
            (spec.currency_base, spec.currency_profit): spec.name
            for spec in self.specs.values()
            if spec.calc_mode in (FOREX, FOREX_NO_LEVERAGE)
        }

    def rate(self, source: str, target: str, *, at_bid: bool, own: tuple[str, float] | None = None) -> float:
        """Units of `target` for one `source`: by the direct pair, the inverse one, or through USD; 0 without a path.

        `own` is (symbol, price): if that symbol itself converts, its price is used and not the market's (rule U2).
        """
        if source == target:
            return 1.0
        direct = self._pair_rate(source, target, at_bid=at_bid, own=own)
        if direct or PIVOT in (source, target):
            return direct
        first = self._pair_rate(source, PIVOT, at_bid=at_bid, own=own)
        return first * self._pair_rate(PIVOT, target, at_bid=at_bid, own=own)

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
        self, account: Account, spec: SymbolSpec, volume: float, price_open: float, price_close: float, *, buy: bool
    ) -> float:
        """Result in the account currency of `volume` lots from one price to the other (rule U1)."""
        if spec.calc_mode in (FOREX, FOREX_NO_LEVERAGE):
            size = spec.contract_size * volume
            raw = round(price_close * size, 2) - round(price_open * size, 2)
        elif spec.calc_mode in (CFD, CFD_INDEX, CFD_LEVERAGE):
            raw = (price_close - price_open) * spec.contract_size * volume
        else:
            raw = (price_close - price_open) / spec.tick_size * self._tick_money(spec) * volume
        rate = self.rate(spec.currency_profit, account.currency, at_bid=buy, own=(spec.name, price_close))
        return account.money((raw if buy else -raw) * rate)

    @staticmethod
    def _tick_money(spec: SymbolSpec) -> float:
        return spec.tick_size * spec.contract_size

    def margin_per_lot(self, account: Account, spec: SymbolSpec, price: float, *, buy: bool) -> float:
        """Margin of one lot in the account currency, not rounded (rules T1-T5)."""
        leverage = max(1, account.leverage)
        if spec.margin_initial:
            base = spec.margin_initial / (leverage if spec.calc_mode in (FOREX, CFD_LEVERAGE) else 1)
        elif spec.calc_mode == FOREX:
            base = spec.contract_size / leverage
        elif spec.calc_mode == FOREX_NO_LEVERAGE:
            base = spec.contract_size
        elif spec.calc_mode == CFD_LEVERAGE:
            base = spec.contract_size * price / leverage
        else:
            base = spec.contract_size * price
        return base * self.rate(spec.currency_margin, account.currency, at_bid=not buy, own=(spec.name, price))

    def floating(self, account: Account, position: Position) -> tuple[float, float]:
        """Price at which the position would close now, and its profit then. Without quotes: its open price and 0."""
        quote = self.quotes.get(position.symbol)
        if quote is None:
            return position.price_open, 0.0
        price = quote.bid if position.buy else quote.ask
        spec = self.specs[position.symbol]
        return price, self.profit(account, spec, position.volume, position.price_open, price, buy=position.buy)

    def state(self, account: Account, extra: Position | None = None) -> AccountState:
        """The account's sums (rule H1), as they are or with one more position."""
        profit = swap = 0.0
        for position in account.positions.values():
            profit += self.floating(account, position)[1]
            swap += position.swap
        positions = [*account.positions.values(), *([] if extra is None else [extra])]
        return AccountState(
            profit=account.money(profit),
            equity=account.money(account.balance + account.credit + profit + swap),
            margin=account.money(self.margin(positions)),
        )

    def margin(self, positions: Iterable[Position]) -> float:
        """Margin of positions on a hedging account (rule T8), not rounded."""
        by_symbol: dict[str, list[Position]] = {}
        for position in positions:
            by_symbol.setdefault(position.symbol, []).append(position)
        return sum((_hedged_margin(self.specs[name], held) for name, held in by_symbol.items()), 0.0)

    def tick_value(self, account_currency: str, spec: SymbolSpec, *, profit: bool) -> float:
        """Money of one tick for one lot in the account currency; the two sides differ by the conversion (rule U3)."""
        quote = self.quotes.get(spec.name)
        own = None if quote is None else (spec.name, quote.bid if profit else quote.ask)
        return self._tick_money(spec) * self.rate(spec.currency_profit, account_currency, at_bid=profit, own=own)


@dataclass(frozen=True)
class AccountState:
    """Floating profit, equity and margin, in the account currency and rounded."""

    profit: float
    equity: float
    margin: float

    @property
    def level(self) -> float:
        """Margin level in percent, 0.0 without margin."""
        return self.equity / self.margin * 100.0 if self.margin else 0.0


def _hedged_margin(spec: SymbolSpec, held: list[Position]) -> float:
    lots = {side: sum(one.volume for one in held if one.buy is side) for side in (True, False)}
    money = {side: sum(one.volume * one.margin_per_lot for one in held if one.buy is side) for side in (True, False)}
    if spec.margin_hedged_use_leg:
        return max(money.values())
    larger = lots[True] >= lots[False]
    covered = min(lots.values())
    total = money[larger] * (1 - covered / lots[larger]) if lots[larger] else 0.0
    if covered:
        mean = sum(money.values()) / sum(lots.values())
        total += covered * mean * (spec.hedged_contract / spec.contract_size)
    return total
