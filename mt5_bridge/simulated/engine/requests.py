"""Carrying out trade requests: one function for each action. A refusal is raised before anything changes."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

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
    Position,
    Reason,
    State,
)
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.engine.retcodes import Refused, Retcode
from mt5_bridge.simulated.market.calendar import DAY
from mt5_bridge.simulated.symbols import MARKET_EXECUTION, SymbolSpec


class Executed(NamedTuple):
    """The numbers of a result; what an action does not fill stays 0 (rules K1-K4)."""

    order: int = 0
    deal: int = 0
    volume: float = 0.0
    price: float = 0.0
    with_quote: bool = False


def carry_out(book: Book, account: Account, request: Request) -> Executed:
    """Do what the request asks. Raises Refused, with nothing changed."""
    validation.check_account(account)
    match request.action:
        case Action.DEAL:
            return _deal(book, account, request)
        case Action.PENDING:
            return _pending(book, account, request)
        case Action.SLTP:
            return _sltp(book, account, request)
        case Action.MODIFY:
            return _modify(book, account, request)
        case Action.REMOVE:
            return _remove(book, account, request)
        case Action.CLOSE_BY:
            return _close_by(book, account, request)
    raise Refused(Retcode.INVALID)


def probe(book: Book, account: Account, request: Request) -> Position | None:
    """What `order_check` sees: all checks but session and requote (rule J3).

    Returns the position that the request would open, if it opens one. Raises Refused.
    """
    validation.check_account(account)
    match request.action:
        case Action.DEAL if request.position:
            _checked_close(book, account, request)
        case Action.DEAL:
            order, price = _checked_open(book, account, request)
            return execution.position_from(book, account, order, price)
        case Action.PENDING:
            _checked_pending(book, account, request)
        case Action.SLTP:
            _checked_sltp(book, account, request)
        case Action.MODIFY:
            _checked_modify(book, account, request)
        case Action.REMOVE:
            validation.order_of(account, request.order)
        case Action.CLOSE_BY:
            _checked_close_by(book, account, request)
        case _:
            raise Refused(Retcode.INVALID)
    return None


def _deal(book: Book, account: Account, request: Request) -> Executed:
    if request.position:
        position, price = _checked_close(book, account, request)
        _check_market(book, request, buy=not position.buy)
        order = execution.closing_order(
            book,
            position,
            execution.lots(request.volume),
            reason=Reason.EXPERT,
            comment=request.comment,
            magic=request.magic,
            price=_requested_price(book.specs[position.symbol], request),
        )
        order.filling = request.type_filling
        deal = execution.close_position(book, account, position, order, price)
    else:
        order, price = _checked_open(book, account, request)
        _check_market(book, request, buy=order.kind.is_buy)
        order.ticket = book.new_order_ticket()
        deal = execution.open_position(book, account, order, price)
    return Executed(order.ticket, deal, order.volume, price, with_quote=True)


def _check_market(book: Book, request: Request, *, buy: bool) -> None:
    spec = book.specs[request.symbol]
    validation.check_session(book, spec)
    validation.check_requote(spec, request, validation.quote_of(book, spec), buy=buy)


def _requested_price(spec: SymbolSpec, request: Request) -> float:
    """A market order keeps the requested price except under market execution (rule R5)."""
    return 0.0 if spec.execution == MARKET_EXECUTION else spec.price(request.price)


def _checked_close(book: Book, account: Account, request: Request) -> tuple[Position, float]:
    spec = validation.symbol_of(book, request.symbol)
    kind = validation.kind_of(spec, request)
    validation.check_filling(spec, request)
    validation.check_volume(spec, request.volume, closing=True)
    position = validation.position_of(account, request.position)
    if position.symbol != spec.name or position.buy is kind.is_buy:
        raise Refused(Retcode.INVALID)
    if execution.lots(request.volume) > position.volume:
        raise Refused(Retcode.INVALID_CLOSE_VOLUME)
    validation.check_price_given(spec, request)
    quote = validation.quote_of(book, spec)
    price = quote.bid if position.buy else quote.ask
    validation.check_freeze(spec, price, (position.sl, position.tp))
    return position, price


def _checked_open(book: Book, account: Account, request: Request) -> tuple[Order, float]:
    """The market order (its ticket still 0) and its price."""
    spec = validation.symbol_of(book, request.symbol)
    kind = validation.kind_of(spec, request)
    validation.check_trade_mode(spec, kind)
    validation.check_filling(spec, request)
    validation.check_volume(spec, request.volume)
    validation.check_price_given(spec, request)
    quote = validation.quote_of(book, spec)
    order = _order(book, account, spec, kind, request)
    order.price = _requested_price(spec, request)
    order.expiration = order.type_time = 0
    reference = quote.bid if kind.is_buy else quote.ask
    validation.check_stops(spec, buy=kind.is_buy, reference=reference, sl=order.sl, tp=order.tp)
    validation.check_limits(account, spec, kind, order.volume)
    price = quote.ask if kind.is_buy else quote.bid
    check_money(book, account, order, price)
    return order, price


def check_money(book: Book, account: Account, order: Order, price: float) -> None:
    """The margin that the order adds is covered by free margin (rule L8)."""
    before = book.valuation.state(account)
    after = book.valuation.state(account, execution.position_from(book, account, order, price))
    added = after.margin - before.margin
    if added > 0 and added > before.equity - before.margin:
        raise Refused(Retcode.NO_MONEY)


def _order(book: Book, account: Account, spec: SymbolSpec, kind: Kind, request: Request) -> Order:
    return Order(
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
        expiration=_expiration(request.type_time, request.expiration, book.now_msc // 1000),
        magic=request.magic,
        comment=request.comment,
        reason=Reason.EXPERT,
        setup_msc=book.now_msc,
    )


def _expiration(type_time: int, expiration: int, now: int) -> int:
    """The second at which an order ends, 0 for never (rule M6)."""
    if type_time == TIME_DAY:
        return now // DAY * DAY + DAY - 1
    if type_time == TIME_SPECIFIED:
        return expiration
    return expiration // DAY * DAY + DAY - 1 if type_time == TIME_SPECIFIED_DAY else 0


def _pending(book: Book, account: Account, request: Request) -> Executed:
    order = _checked_pending(book, account, request)
    validation.check_session(book, book.specs[order.symbol])
    order.ticket = book.new_order_ticket()
    book.put_order(order)
    return Executed(order.ticket, volume=order.volume, with_quote=True)


def _checked_pending(book: Book, account: Account, request: Request) -> Order:
    spec = validation.symbol_of(book, request.symbol)
    kind = validation.kind_of(spec, request)
    validation.check_trade_mode(spec, kind)
    validation.check_filling(spec, request)
    validation.check_expiration(spec, request.type_time, request.expiration, book.now_msc // 1000)
    validation.check_volume(spec, request.volume)
    order = _order(book, account, spec, kind, request)
    _check_levels(book, spec, order)
    validation.check_limits(account, spec, kind, order.volume)
    return order


def _check_levels(book: Book, spec: SymbolSpec, order: Order) -> None:
    quote = validation.quote_of(book, spec)
    validation.check_pending_price(spec, order.kind, quote, order.price, order.stoplimit)
    reference = order.stoplimit or order.price
    validation.check_stops(spec, buy=order.kind.is_buy, reference=reference, sl=order.sl, tp=order.tp)


def _sltp(book: Book, account: Account, request: Request) -> Executed:
    position, sl, tp = _checked_sltp(book, account, request)
    validation.check_session(book, book.specs[position.symbol])
    position.sl, position.tp = sl, tp
    book.put_position(position)
    return Executed()


def _checked_sltp(book: Book, account: Account, request: Request) -> tuple[Position, float, float]:
    position = validation.position_of(account, request.position)
    spec = validation.symbol_of(book, position.symbol)
    sl, tp = spec.price(request.sl), spec.price(request.tp)
    if (sl, tp) == (position.sl, position.tp):
        raise Refused(Retcode.NO_CHANGES)
    quote = validation.quote_of(book, spec)
    market = quote.bid if position.buy else quote.ask
    validation.check_stops(spec, buy=position.buy, reference=market, sl=sl, tp=tp)
    validation.check_freeze(spec, market, (position.sl, position.tp))
    return position, sl, tp


def _modify(book: Book, account: Account, request: Request) -> Executed:
    order, changed = _checked_modify(book, account, request)
    validation.check_session(book, book.specs[order.symbol])
    book.put_order(changed)
    return Executed(order.ticket)


def _checked_modify(book: Book, account: Account, request: Request) -> tuple[Order, Order]:
    """The order as it is and as it would be: price, stops and lifetime change, nothing else (rule N7)."""
    order = validation.order_of(account, request.order)
    spec = validation.symbol_of(book, order.symbol)
    validation.check_expiration(spec, request.type_time, request.expiration, book.now_msc // 1000)
    wish = _order(book, account, spec, order.kind, request)
    changed = replace(
        order,
        price=wish.price,
        stoplimit=wish.stoplimit,
        sl=wish.sl,
        tp=wish.tp,
        type_time=wish.type_time,
        expiration=wish.expiration,
    )
    if changed == order:
        raise Refused(Retcode.NO_CHANGES)
    _check_levels(book, spec, changed)
    _check_order_freeze(book, spec, order)
    return order, changed


def _check_order_freeze(book: Book, spec: SymbolSpec, order: Order) -> None:
    quote = validation.quote_of(book, spec)
    validation.check_freeze(spec, quote.ask if order.kind.is_buy else quote.bid, (order.price,))


def _remove(book: Book, account: Account, request: Request) -> Executed:
    order = validation.order_of(account, request.order)
    spec = validation.symbol_of(book, order.symbol)
    _check_order_freeze(book, spec, order)
    validation.check_session(book, spec)
    book.finish_order(order, order.finished(State.CANCELED, book.now_msc, left=order.volume))
    return Executed(order.ticket)


def _close_by(book: Book, account: Account, request: Request) -> Executed:
    position, other = _checked_close_by(book, account, request)
    validation.check_session(book, book.specs[position.symbol])
    return Executed(execution.close_by(book, account, position, other, request.magic))


def _checked_close_by(book: Book, account: Account, request: Request) -> tuple[Position, Position]:
    position = validation.position_of(account, request.position)
    other = validation.position_of(account, request.position_by)
    validation.check_close_by_allowed(validation.symbol_of(book, position.symbol))
    if position.symbol != other.symbol or position.buy is other.buy:
        raise Refused(Retcode.INVALID)
    return position, other
