"""What the server does at the end of its day: swaps, interest, settlement, what lasts a day (rules M8, R4, U1, U4)."""

from __future__ import annotations

from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.model import TIME_GTC, Account, Position, Reason, State
from mt5_bridge.simulated.engine.reopening import reopen
from mt5_bridge.simulated.market.calendar import DAY, weekday
from mt5_bridge.simulated.symbols import (
    GTC_DAILY,
    GTC_KEEP,
    SWAP_BASE,
    SWAP_DEPOSIT,
    SWAP_INTEREST_CURRENT,
    SWAP_INTEREST_OPEN,
    SWAP_MARGIN,
    SWAP_OFF,
    SWAP_POINTS,
    SWAP_REOPEN_BID,
    SWAP_REOPEN_CURRENT,
    SymbolSpec,
)

_YEAR = 360.0
_TRIPLE = 3.0


def next_day_end(now_msc: int) -> int:
    """The next midnight of the broker's clock after `now_msc` (ms)."""
    return (now_msc // (DAY * 1000) + 1) * DAY * 1000


def end_day(book: Book) -> None:
    """Charge swaps, pay interest and variation margin, drop what lasts one day.

    The book's time is the midnight at which the day has ended.
    """
    day = weekday(book.now_msc // 1000 - 1)
    for account in book.accounts.values():
        for order in list(account.orders.values()):
            mode = book.specs[order.symbol].order_gtc_mode
            if mode != GTC_KEEP and order.type_time == TIME_GTC:
                state = State[book.conventions.day_end_state.upper()]
                book.finish_order(order, order.finished(state, book.now_msc, left=order.volume))
        for position in list(account.positions.values()):
            spec = book.specs[position.symbol]
            if spec.order_gtc_mode == GTC_DAILY and (position.sl or position.tp):
                position.sl = position.tp = 0.0
                book.put_position(position)
            if spec.daily_interest:
                position.interest += spec.daily_interest  # U1
                book.put_position(position)
            _charge(book, account, position, spec, _days(spec, day))
        for position in list(account.positions.values()):
            spec = book.specs[position.symbol]
            if spec.variation_margin and spec.swap_multipliers[day]:
                _settle(book, account, position)


def _days(spec: SymbolSpec, day: int) -> float:
    """Days of swap charged at the end of a day of the week."""
    days = spec.swap_multipliers[day]
    return days * _TRIPLE if day == spec.swap_rollover3days else days


def _charge(book: Book, account: Account, position: Position, spec: SymbolSpec, days: float) -> None:
    rate = spec.swap_long if position.buy else spec.swap_short
    if spec.swap_mode == SWAP_OFF or not days or not rate:
        return
    if spec.swap_mode in (SWAP_REOPEN_CURRENT, SWAP_REOPEN_BID):
        _reopen(book, account, position, spec, rate * days)
        return
    money = _nightly(book, account, position, spec, rate) * days
    position.swap = account.money(position.swap + money)
    book.put_position(position)


def _nightly(book: Book, account: Account, position: Position, spec: SymbolSpec, rate: float) -> float:
    """One night's swap in the account currency, by swap mode."""
    size = spec.contract_size * position.volume
    current = book.valuation.floating(account, position)[0]
    match spec.swap_mode:
        case _ if spec.swap_mode == SWAP_POINTS:
            money, currency = rate * spec.point * size, spec.currency_profit
        case _ if spec.swap_mode == SWAP_BASE:
            money, currency = rate * position.volume, spec.currency_base
        case _ if spec.swap_mode == SWAP_MARGIN:
            money, currency = rate * position.volume, spec.currency_margin
        case _ if spec.swap_mode == SWAP_DEPOSIT:
            money, currency = rate * position.volume, account.currency
        case _ if spec.swap_mode == SWAP_INTEREST_CURRENT:
            money, currency = size * current * rate / 100.0 / _YEAR, spec.currency_profit
        case _ if spec.swap_mode == SWAP_INTEREST_OPEN:
            money, currency = size * position.price_open * rate / 100.0 / _YEAR, spec.currency_profit
        case _:
            return 0.0
    return money * book.valuation.rate(currency, account.currency, at_bid=position.buy, own=(spec.name, current))


def _reopen(book: Book, account: Account, position: Position, spec: SymbolSpec, points: float) -> None:
    """Close at the day's last price and open again so many points away; mode 8 reckons from the bid."""
    quote = book.quotes.get(spec.name)
    if quote is None:
        return
    closed_at = quote.to_fill(buy=not position.buy)
    base = quote.bid if spec.swap_mode == SWAP_REOPEN_BID else closed_at
    # A negative rate makes the position worse: a buy opens again higher, a sell lower.
    shifted = spec.price(base - points * spec.point if position.buy else base + points * spec.point)
    reopen(book, account, position, Reason.ROLLOVER, closed_at=closed_at, opened_at=shifted)


def _settle(book: Book, account: Account, position: Position) -> None:
    """Pay what the position has gained or lost since the last settlement (rule R4)."""
    price = book.valuation.floating(account, position)[0]
    reopen(book, account, position, Reason.VARIATION_MARGIN, closed_at=price, opened_at=price)
