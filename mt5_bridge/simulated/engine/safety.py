"""Ranges of prices within which an account cannot come to its stop out (section V).

The bound is exact, without any allowance for rounding: profit, conversion and rounding are chains of float operations
each of which never falls when its argument rises, so the same chain taken at the worse ends of the ranges gives a sum
that no prices inside of them can undercut.
"""

from __future__ import annotations

from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.model import SO_MONEY, Account, Order, Position
from mt5_bridge.simulated.engine.money import PIVOT, AccountState, base_margin, raw_profit
from mt5_bridge.simulated.engine.stop_out import is_under_stop_out
from mt5_bridge.simulated.engine.triggers import NO_LEVELS, Levels

Zone = dict[str, Levels]
"""For each symbol that matters the levels that its quotes must not reach."""

_WIDEST, _PROBE, _NARROWEST = 0.5, 0.01, 1e-5
"""Relative distances of a zone's edges from the quotes. In a narrower one hardly a tick would be saved."""
_TRIES = 4
_CAUTION = 0.95
Range = tuple[float, float]


class _UnboundedError(Exception):
    """Money depends on a quote that is not there."""


def safe_zone(book: Book, account: Account) -> Zone | None:
    """A zone around the present quotes in which the account stays clear of its stop out; None if none is found."""
    try:
        margin = book.valuation.margin(account.positions.values())
        widest = _Prices(book, _WIDEST)
        if not is_under_stop_out(book, account, _worst(book, account, margin, widest)):
            return widest.zone()
        here = _worst(book, account, margin, _Prices(book, 0.0))
        if is_under_stop_out(book, account, here):
            return None
        probe = _worst(book, account, margin, _Prices(book, _PROBE))
        width = _reach(account, here, probe)
        for _ in range(_TRIES):
            if width < _NARROWEST:
                return None
            prices = _Prices(book, width)
            if not is_under_stop_out(book, account, _worst(book, account, margin, prices)):
                return prices.zone()
            width /= 2.0
    except _UnboundedError:
        pass
    return None


def _reach(account: Account, here: AccountState, probe: AccountState) -> float:
    """How wide the zone could be if what is left fell as evenly as between two states. A guess: it is checked after."""
    left = _left(account, here)
    falls = left - _left(account, probe)
    return _WIDEST if falls <= 0.0 else min(_WIDEST, _PROBE * _CAUTION * left / falls)


def _left(account: Account, state: AccountState) -> float:
    """Money above the stop out."""
    if account.margin_so_mode == SO_MONEY and state.margin:
        return state.equity - account.margin_so_so
    return state.equity - account.margin_so_so / 100.0 * state.margin


class _Prices:
    """Ranges around the present quotes, so wide; remembers which of their ends have been relied on."""

    def __init__(self, book: Book, width: float) -> None:
        self._book = book
        self._width = width
        self._ends: dict[tuple[str, bool, bool], float] = {}

    def end(self, name: str, *, ask: bool, high: bool) -> float:
        """One end of the range of a symbol's bid or ask. Raises _UnboundedError without a usable quote."""
        known = self._ends.get((name, ask, high))
        if known is not None:
            return known
        quote = self._book.quotes.get(name)
        price = 0.0 if quote is None else quote.ask if ask else quote.bid
        if price <= 0.0:
            raise _UnboundedError
        found = price * (1.0 + self._width if high else 1.0 - self._width)
        self._ends[name, ask, high] = found
        return found

    def both(self, name: str, *, ask: bool) -> Range:
        """The range of a symbol's bid or ask."""
        return self.end(name, ask=ask, high=False), self.end(name, ask=ask, high=True)

    def zone(self) -> Zone:
        """The levels at the ends that were relied on; the others are as far as can be."""
        levels: dict[str, list[float]] = {}
        for (name, ask, high), price in self._ends.items():
            levels.setdefault(name, list(NO_LEVELS))[2 * ask + high] = price
        return {name: Levels(*prices) for name, prices in levels.items()}


def _worst(book: Book, account: Account, margin: float, prices: _Prices) -> AccountState:
    """The account's state at the worst prices, summed in the order of `Valuation.state`."""
    profit = swap = 0.0
    for position in account.positions.values():
        profit += _worst_profit(book, account, position, prices)
        swap += position.swap
    equity = account.money(account.balance + account.credit + profit + swap)
    low = high = margin
    if account.orders:
        reserved = [_order_margin(book, account, order, prices) for order in account.orders.values()]
        low, high = margin + sum(one for one, _ in reserved), margin + sum(one for _, one in reserved)
    low, high = account.money(low), account.money(high)
    if (low == 0.0) is not (high == 0.0):
        raise _UnboundedError  # whether there is margin at all decides which rule is asked
    return AccountState(account.money(profit), equity, high if equity >= 0.0 else low)


def _worst_profit(book: Book, account: Account, position: Position, prices: _Prices) -> float:
    spec = book.specs[position.symbol]
    worst = prices.end(position.symbol, ask=not position.buy, high=not position.buy)
    raw = raw_profit(spec, position.volume, position.price_open, worst, position.interest)
    raw = raw if position.buy else -raw
    if spec.currency_profit == account.currency:
        return account.money(raw)
    low, high = _rate(book, prices, spec.currency_profit, account.currency, ask=not position.buy)
    return account.money(raw * (high if raw < 0.0 else low))


def _rate(
    book: Book, prices: _Prices, source: str, target: str, *, ask: bool, own: tuple[str, float] | None = None
) -> Range:
    """Range of `Valuation.rate`. A position's own price is a quote; that of an order is fixed and given as `own`."""
    if source == target:
        return 1.0, 1.0
    direct = _leg(book, prices, source, target, ask=ask, own=own)
    if direct is not None or PIVOT in (source, target):
        return direct or (0.0, 0.0)
    first = _leg(book, prices, source, PIVOT, ask=ask, own=own)
    second = _leg(book, prices, PIVOT, target, ask=ask, own=own)
    if first is None or second is None:
        return 0.0, 0.0
    return first[0] * second[0], first[1] * second[1]


def _leg(
    book: Book, prices: _Prices, source: str, target: str, *, ask: bool, own: tuple[str, float] | None
) -> Range | None:
    """Range of the rate of a pair or of the inverse one; None if there is neither."""
    pair, inverse = book.valuation.pair(source, target), book.valuation.pair(target, source)
    if pair and inverse:
        raise _UnboundedError  # which of the two is asked depends on their quotes
    name = pair or inverse
    if name is None:
        return None
    low, high = (own[1], own[1]) if own is not None and own[0] == name else prices.both(name, ask=ask)
    return (low, high) if pair else (1.0 / high, 1.0 / low)


def _order_margin(book: Book, account: Account, order: Order, prices: _Prices) -> Range:
    """Range of `Valuation.order_margin`."""
    spec = book.specs[order.symbol]
    if not spec.margin_rate_pending:
        return 0.0, 0.0
    buy = order.kind.is_buy
    base = base_margin(spec, order.price, max(1, account.leverage), spec.margin_initial)
    ask = buy is (book.valuation.margin_rate_side == "deal")
    rates = _rate(book, prices, spec.currency_margin, account.currency, ask=ask, own=(spec.name, order.price))
    factor = spec.margin_rate_buy if buy else spec.margin_rate_sell
    low, high = (spec.margin_rate_pending * order.volume * (base * rate * factor) for rate in rates)
    return low, high
