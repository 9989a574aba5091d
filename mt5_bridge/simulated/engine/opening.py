"""Checks of requests that open or place something, in the order that the conventions name (rule L23)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mt5_bridge.simulated.engine import execution, validation
from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.model import (
    TIME_DAY,
    TIME_SPECIFIED,
    TIME_SPECIFIED_DAY,
    Account,
    Action,
    Kind,
    Order,
)
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.engine.retcodes import Refused, Retcode
from mt5_bridge.simulated.market.calendar import DAY
from mt5_bridge.simulated.symbols import INSTANT_EXECUTION, MARKET_EXECUTION, SymbolSpec

_DEAL, _PENDING, _AT_MARKET = Action.DEAL, Action.PENDING, (Kind.BUY, Kind.SELL)


@dataclass(slots=True)
class Opening:
    """A request to open or place, and the order that it would become (its ticket still 0)."""

    book: Book
    account: Account
    spec: SymbolSpec
    request: Request
    order: Order

    def check(self, *, with_market: bool) -> None:
        """All checks. Without `with_market` the session is not looked at (rule J3). Raises Refused."""
        validation.check_live(self.account, self.spec)
        for name in self.book.conventions.opening_checks:
            if with_market or name != "session":
                _CHECKS[name](self)

    @property
    def price(self) -> float:
        """Price at which a market order is filled; a pending order's own (rule Q1). Raises Refused without quotes."""
        if self._pending:
            return self.order.price
        return fill_price(self.book, self.spec, self.request, buy=self.order.kind.is_buy)

    @property
    def _pending(self) -> bool:
        return self.request.action == _PENDING

    def check_expiration(self) -> None:
        """A pending order's lifetime."""
        if self._pending:
            check_lifetime(self.book, self.spec, self.request, self.order.expiration)

    def check_price(self) -> None:
        """The price that is asked for."""
        quote = validation.quote_of(self.book, self.spec)
        if self._pending:
            order = self.order
            validation.check_pending_price(self.spec, order.kind, quote, order.price, order.stoplimit)
        else:
            validation.check_price_given(self.spec, self.request)

    def check_stops(self) -> None:
        """Stop loss and take profit."""
        order, spec = self.order, self.spec
        quote = validation.quote_of(self.book, spec)
        if self._pending:
            reference = order.stoplimit or order.price  # N9
        else:
            reference = quote.to_fill(buy=not order.kind.is_buy)  # P2
            refused = spec.execution == MARKET_EXECUTION and not self.book.conventions.stops_in_market_deals
            if refused and (order.sl or order.tp):
                raise Refused(Retcode.INVALID_STOPS)
        validation.check_stops(spec, buy=order.kind.is_buy, reference=reference, sl=order.sl, tp=order.tp)

    def check_session(self) -> None:
        """The symbol trades, where that matters."""
        if self._pending:
            if not self.book.conventions.pending_outside_session:
                validation.check_session(self.book, self.spec)
            return
        check_market(self.book, self.spec, self.request, buy=self.order.kind.is_buy)


_CHECKS: Final[Mapping[str, Callable[[Opening], None]]] = {
    "trade_mode": lambda one: validation.check_trade_mode(one.spec, one.order.kind),
    "filling": lambda one: validation.check_filling(one.spec, one.request, one.book.conventions),
    "expiration": Opening.check_expiration,
    "volume": lambda one: validation.check_volume(one.spec, one.request.volume),
    "price": Opening.check_price,
    "stops": Opening.check_stops,
    "session": Opening.check_session,
    "limits": lambda one: validation.check_limits(one.account, one.spec, one.order.kind, one.order.volume),
    "hedge": lambda one: validation.check_hedge(one.account, one.spec, one.order.kind),
    "money": lambda one: check_money(one.book, one.account, one.order, one.price),
}
"""By their names in the conventions."""


def order_of_request(book: Book, account: Account, spec: SymbolSpec, kind: Kind, request: Request) -> Order:
    """The order that a request asks for, its ticket still 0."""
    is_deal = request.action == _DEAL
    return Order(
        ticket=0,
        login=account.login,
        symbol=spec.name,
        kind=kind,
        volume=execution.lots(request.volume),
        price=requested_price(spec, request) if is_deal else spec.price(request.price),
        stoplimit=0.0 if is_deal else spec.price(request.stoplimit),
        sl=spec.price(request.sl),
        tp=spec.price(request.tp),
        type_time=0 if is_deal else request.type_time,
        filling=request.type_filling,
        expiration=0 if is_deal else _expiration(book, request),
        magic=request.magic,
        comment=request.comment,
        reason=request.reason,
        setup_msc=book.now_msc,
    )


def requested_price(spec: SymbolSpec, request: Request) -> float:
    """A market order keeps the requested price except under market execution (rule R5)."""
    return 0.0 if spec.execution == MARKET_EXECUTION else spec.price(request.price)


def fill_price(book: Book, spec: SymbolSpec, request: Request, *, buy: bool) -> float:
    """The requested price under instant execution, else the market's (rule Q1). Raises Refused without quotes."""
    market = validation.quote_of(book, spec).to_fill(buy=buy)
    return spec.price(request.price) if spec.execution <= INSTANT_EXECUTION else market


def check_market(book: Book, spec: SymbolSpec, request: Request, *, buy: bool) -> None:
    """The symbol trades, at the price that was asked for (rules Q1-Q3)."""
    validation.check_session(book, spec)
    validation.check_requote(spec, request, validation.quote_of(book, spec), buy=buy)


def check_lifetime(book: Book, spec: SymbolSpec, request: Request, ends: int) -> None:
    """The lifetime is allowed and lies ahead (rule L10)."""
    validation.check_expiration(spec, request.type_time, request.expiration, ends, book.now_msc // 1000)


def check_money(book: Book, account: Account, order: Order, price: float) -> None:
    """The margin that the order adds is covered by free margin (rule L8)."""
    before = book.valuation.state(account)
    if order.kind in _AT_MARKET:
        added = execution.margin_after(book, account, order, price) - before.margin
    else:
        added = book.valuation.order_margin(account, order)
    if added > 0 and added > before.equity - before.margin:
        raise Refused(Retcode.NO_MONEY)


def _expiration(book: Book, request: Request) -> int:
    """The second at which an order ends, 0 for never (rule M6)."""
    if request.type_time == TIME_DAY:
        return book.now_msc // 1000 // DAY * DAY + DAY - 1
    if request.type_time == TIME_SPECIFIED:
        return request.expiration
    if request.type_time == TIME_SPECIFIED_DAY:
        return request.expiration // DAY * DAY + book.conventions.specified_day_end
    return 0
