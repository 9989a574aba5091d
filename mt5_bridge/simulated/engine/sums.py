"""What an account's positions add up to, prepared so that new prices cost little.

Profits in an account currency with two digits are whole cents, so their sum can be taken in whole numbers; it is the
one that adding and rounding the single profits gives (rules U1, H1), as long as it stays under 10^11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mt5_bridge.simulated.engine.model import Account, Position, Quote
from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.simulated.symbols import FOREX_MODES, LINEAR_MODES, SymbolSpec

_CENTS = 2
_NEARLY_HALF = 0.4999
"""A product this far from a whole number of cents is rounded by its decimal digits, as `round` does."""


class Side(NamedTuple):
    """Positions of one direction in one symbol, quoted in the account currency."""

    symbol: str
    buy: bool
    sizes: tuple[tuple[float, int], ...]
    """Units of the base currency, and how many positions have just so many."""


class Sums(NamedTuple):
    """The parts of an account's state that only change when its holdings do."""

    sides: tuple[Side, ...]
    opened: int
    """Cents that the positions of `sides` were worth when they were opened, buys negative."""
    others: tuple[Position, ...]
    """Positions whose profit takes more than a product."""
    swap: float
    margin: float
    reserves: bool
    """Whether pending orders may hold margin too."""


def sums_of(account: Account, specs: Mapping[str, SymbolSpec], margin: float) -> Sums:
    """The sums of an account whose positions hold so much margin."""
    reserves = any(specs[order.symbol].margin_rate_pending for order in account.orders.values())
    if not account.positions:
        return Sums((), 0, (), 0.0, margin, reserves)
    counts: dict[tuple[str, bool], dict[float, int]] = {}
    others, opened, swap = [], 0, 0.0
    for position in account.positions.values():
        spec = specs[position.symbol]
        swap += position.swap
        plain = spec.calc_mode in FOREX_MODES and spec.currency_profit == account.currency
        if not plain or account.currency_digits != _CENTS:
            others.append(position)
            continue
        size = spec.contract_size * position.volume
        sizes = counts.setdefault((position.symbol, position.buy), {})
        sizes[size] = sizes.get(size, 0) + 1
        opened -= cents(position.price_open * size) if position.buy else -cents(position.price_open * size)
    sides = tuple(Side(symbol, buy, tuple(sizes.items())) for (symbol, buy), sizes in counts.items())
    return Sums(sides, opened, tuple(others), swap, margin, reserves)


def cents(money: float) -> int:
    """`round(money, 2)` as a whole number of cents."""
    product = money * 100.0
    whole = round(product)
    return whole if -_NEARLY_HALF < product - whole < _NEARLY_HALF else round(round(money, _CENTS) * 100.0)


def floating_cents(sums: Sums, quotes: Mapping[str, Quote]) -> int | None:
    """Profit of the positions of `sides` at the quotes; None if one has no quote."""
    total = sums.opened
    for symbol, buy, sizes in sums.sides:
        quote = quotes.get(symbol)
        if quote is None:
            return None
        price = quote.bid if buy else quote.ask
        worth = 0
        for size, count in sizes:
            product = price * size * 100.0
            whole = round(product)
            if not -_NEARLY_HALF < product - whole < _NEARLY_HALF:
                whole = cents(price * size)
            worth += whole * count
        total += worth if buy else -worth
    return total


class Holding(NamedTuple):
    """An account whose profit at a price is `offset` + `signed` x (price - `base`) x `size` in whole cents."""

    money: float
    """Balance and credit."""
    swap: float
    signed: int
    """1 when rising prices bring profit, -1 when falling ones do, 0 when nothing is open."""
    size: float
    base: float
    offset: int


def holding_of(account: Account, specs: Mapping[str, SymbolSpec], name: str) -> Holding | None:
    """The holding of an account with one position at most, in this symbol; None where it is not as simple."""
    money = account.balance + account.credit
    if account.currency_digits != _CENTS or len(account.positions) > 1:
        return None
    for position in account.positions.values():
        spec = specs[name]
        if position.symbol != name or spec.currency_profit != account.currency:
            return None
        signed, size = 1 if position.buy else -1, spec.contract_size * position.volume
        if spec.calc_mode in FOREX_MODES:
            return Holding(money, position.swap, signed, size, 0.0, -signed * cents(position.price_open * size))
        return (
            Holding(money, position.swap, signed, size, position.price_open, 0)
            if spec.calc_mode in LINEAR_MODES
            else None
        )
    return Holding(money, 0.0, 0, 0.0, 0.0, 0)


def equities(holdings: Sequence[Holding], lengths: Sequence[int] | Array, bids: Array, asks: Array) -> Array:
    """`Valuation.equity` of each holding at as many quotes in a row as its length says."""
    money, swap, signed, size, base, offset = np.repeat(np.array(holdings, np.float64), lengths, axis=0).T
    worth = (np.where(signed > 0, bids, asks) - base) * size
    product = worth * 100.0
    whole = np.rint(product)
    for index in np.flatnonzero(np.abs(product - whole) >= _NEARLY_HALF):
        whole[index] = cents(float(worth[index]))
    return np.asarray(np.round(money + (offset + signed * whole) / 100.0 + swap, _CENTS))
