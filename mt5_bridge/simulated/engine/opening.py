"""Checks of requests that open or place something, in the order that the conventions name (rule L23)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True)
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
        steps: dict[str, Callable[[], None]] = {
            "trade_mode": lambda: validation.check_trade_mode(self.spec, self.order.kind),
            "filling": lambda: validation.check_filling(self.spec, self.request, self.book.conventions),
            "expiration": self._check_expiration,
            "volume": lambda: validation.check_volume(self.spec, self.request.volume),
            "price": self._check_price,
            "stops": self._check_stops,
            "session": self._check_session if with_market else lambda: None,
            "limits": self._check_limits,
            "hedge": lambda: validation.check_hedge(self.account, self.spec, self.order.kind),
            "money": lambda: check_money(self.book, self.account, self.order, self.price),
        }
        for name in self.book.conventions.opening_checks:
            steps[name]()

    @property
    def price(self) -> float:
        """Price at which a market order is filled; a pending order's own (rule Q1). Raises Refused without quotes."""
        if self._pending:
            return self.order.price
        return fill_price(self.book, self.spec, self.request, buy=self.order.kind.is_buy)

    @property
    def _pending(self) -> bool:
        return self.request.action == Action.PENDING

    def _check_expiration(self) -> None:
        if self._pending:
            check_lifetime(self.book, self.spec, self.request, self.order.expiration)

    def _check_price(self) -> None:
        quote = validation.quote_of(self.book, self.spec)
        if self._pending:
            order = self.order
            validation.check_pending_price(self.spec, order.kind, quote, order.price, order.stoplimit)
        else:
            validation.check_price_given(self.spec, self.request)

    def _check_stops(self) -> None:
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

    def _check_session(self) -> None:
        if self._pending:
            if not self.book.conventions.pending_outside_session:
                validation.check_session(self.book, self.spec)
            return
        check_market(self.book, self.spec, self.request, buy=self.order.kind.is_buy)

    def _check_limits(self) -> None:
        validation.check_limits(self.account, self.spec, self.order.kind, self.order.volume)


def order_of_request(book: Book, account: Account, spec: SymbolSpec, kind: Kind, request: Request) -> Order:
    """The order that a request asks for, its ticket still 0."""
    order = Order(
        ticket=0,
        login=account.login,
        symbol=spec.name,
        kind=kind,
        volume=execution.lots(request.volume),
        price=spec.price(request.price),
        stoplimit=spec.price(request.stoplimit),
        sl=spec.price(request.sl),
        tp=spec.price(request.tp),
        type_time=request.type_time,
        filling=request.type_filling,
        expiration=_expiration(book, request),
        magic=request.magic,
        comment=request.comment,
        reason=request.reason,
        setup_msc=book.now_msc,
    )
    if request.action == Action.DEAL:
        order.price = requested_price(spec, request)
        order.expiration = order.type_time = 0
        order.stoplimit = 0.0
    return order


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
    if order.kind in (Kind.BUY, Kind.SELL):
        after = book.valuation.state(account, execution.positions_after(book, account, order, price))
        added = after.margin - before.margin
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
