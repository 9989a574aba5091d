"""Carrying out trade requests: one function for each action. A refusal is raised before anything changes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from mt5_bridge.simulated.engine import execution, validation
from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.model import (
    FILL_BOC,
    FILL_FOK,
    FILL_IOC,
    Account,
    Action,
    Kind,
    Order,
    Position,
    State,
)
from mt5_bridge.simulated.engine.opening import (
    Opening,
    check_lifetime,
    check_market,
    fill_price,
    order_of_request,
)
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.engine.retcodes import Refused, Retcode
from mt5_bridge.simulated.symbols import EXCHANGE_EXECUTION, SymbolSpec

_BUY, _SELL = Kind.BUY, Kind.SELL


class Executed(NamedTuple):
    """The numbers of a result; what an action does not fill stays 0 (rules K1-K4)."""

    order: int = 0
    deal: int = 0
    volume: float = 0.0
    price: float = 0.0
    with_quote: bool = False
    retcode: Retcode = Retcode.DONE


class Probed(NamedTuple):
    """What the account would be left with: its positions, and margin reserved by one more order."""

    positions: list[Position] | None = None
    reserved: float = 0.0


def carry_out(book: Book, account: Account, request: Request, limit: float = math.inf) -> Executed:
    """Do what the request asks, filling at most `limit` lots. Raises Refused, with nothing changed."""
    validation.check_account(account, request)
    match request.action:
        case Action.DEAL:
            return _deal(book, account, request, limit)
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


def probe(book: Book, account: Account, request: Request) -> Probed:
    """What `order_check` sees: all checks but session and requote (rule J3). Raises Refused."""
    validation.check_account(account, request)
    match request.action:
        case Action.DEAL:
            order, price, _ = _checked_deal(book, account, request, with_market=False)
            return Probed(execution.positions_after(book, account, order, price))
        case Action.PENDING:
            order = _checked_pending(book, account, request, with_market=False)
            return Probed(reserved=book.valuation.order_margin(account, order))
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
    return Probed()


def _deal(book: Book, account: Account, request: Request, limit: float) -> Executed:
    order, price, spec = _checked_deal(book, account, request, with_market=True)
    available = _on_step(spec, min(book.available(spec, buy=order.kind.is_buy), limit))
    if available < order.volume and (order.filling == FILL_FOK or (order.filling == FILL_IOC and available <= 0)):
        raise Refused(Retcode(book.conventions.no_volume_retcode))  # M4
    order.ticket = book.new_order_ticket()
    volume = order.volume
    if available >= volume:
        deal = execution.fill_whole(book, account, order, price)
        return Executed(order.ticket, deal, volume, price, with_quote=True)
    return _fill_part(book, account, order, available, price)


def _fill_part(book: Book, account: Account, order: Order, available: float, price: float) -> Executed:
    """Fill what there is; the rest is cancelled or waits, as the filling policy says (rules K6, M4)."""
    order.initial = order.volume
    if available <= 0:
        book.put_order(order)
        return Executed(order.ticket, volume=order.initial, with_quote=True, retcode=Retcode.PLACED)
    done = execution.fill(book, account, order, available, price)
    order.volume = execution.lots(order.volume - available)
    if order.filling == FILL_IOC:
        execution.settle(book, order, State[book.conventions.rest_state.upper()], done.identifier, price)
    else:
        book.put_order(order)
    return Executed(order.ticket, done.deal, available, price, with_quote=True, retcode=Retcode.DONE_PARTIAL)


def _on_step(spec: SymbolSpec, volume: float) -> float:
    """The largest tradable volume that is not more."""
    if math.isinf(volume):
        return volume
    return execution.lots(math.floor(volume / spec.volume_step + 1e-9) * spec.volume_step)


def _checked_deal(
    book: Book, account: Account, request: Request, *, with_market: bool
) -> tuple[Order, float, SymbolSpec]:
    """The market order (its ticket still 0), its price and symbol."""
    spec = validation.symbol_of(book, request.symbol)
    kind = validation.kind_of(spec, request)
    closed = _closed_position(account, spec, kind, request)
    if closed is not None:
        order, price = _checked_close(book, account, spec, closed, request, with_market=with_market)
        return order, price, spec
    order = order_of_request(book, account, spec, kind, request)
    opening = Opening(book, account, spec, request, order)
    opening.check(with_market=with_market)
    return order, opening.price, spec


def _closed_position(account: Account, spec: SymbolSpec, kind: Kind, request: Request) -> Position | None:
    """The position that a deal only closes: the one that it names, or the net position on its other side (S5, S7)."""
    named = validation.position_of(account, request.position) if request.position else None
    if not account.nets:
        if named is not None and (named.symbol != spec.name or named.buy is kind.is_buy):
            raise Refused(Retcode.INVALID)
        return named
    held = account.net_position(spec.name)
    if named is not None and named is not held:
        raise Refused(Retcode.INVALID)
    opposite = held is not None and held.buy is not kind.is_buy
    return held if opposite and held is not None and execution.lots(request.volume) <= held.volume else None


def _checked_close(
    book: Book, account: Account, spec: SymbolSpec, position: Position, request: Request, *, with_market: bool
) -> tuple[Order, float]:
    validation.check_filling(spec, request, book.conventions)
    validation.check_volume(spec, request.volume, closing=True)
    validation.check_close_volume(account, position, execution.lots(request.volume))
    validation.check_price_given(spec, request)
    price = fill_price(book, spec, request, buy=not position.buy)
    if spec.freeze_level:
        market = validation.quote_of(book, spec).to_fill(buy=not position.buy)
        validation.check_freeze(spec, market, (position.sl, position.tp))
    if with_market:
        check_market(book, spec, request, buy=not position.buy)
    validation.check_fifo(account, position)
    kind = _SELL if position.buy else _BUY
    order = order_of_request(book, account, spec, kind, request)
    order.sl = order.tp = 0.0
    # A net position is closed by its side alone; only hedging accounts close one of several.
    order.position = 0 if account.nets else position.ticket
    return order, price


def _pending(book: Book, account: Account, request: Request) -> Executed:
    order = _checked_pending(book, account, request, with_market=True)
    order.ticket = book.new_order_ticket()
    order.initial = order.volume
    book.put_order(order)
    return Executed(order.ticket, volume=order.volume, with_quote=True)


def _checked_pending(book: Book, account: Account, request: Request, *, with_market: bool) -> Order:
    spec = validation.symbol_of(book, request.symbol)
    kind = validation.kind_of(spec, request)
    order = order_of_request(book, account, spec, kind, request)
    Opening(book, account, spec, request, order).check(with_market=with_market)
    return order


def _sltp(book: Book, account: Account, request: Request) -> Executed:
    position, sl, tp = _checked_sltp(book, account, request)
    validation.check_session(book, book.specs[position.symbol])
    position.sl, position.tp = sl, tp
    if book.conventions.update_time_on_stops:
        position.update_msc = book.now_msc
    book.put_position(position)
    return Executed()


def _checked_sltp(book: Book, account: Account, request: Request) -> tuple[Position, float, float]:
    net = account.net_position(request.symbol) if account.nets and not request.position else None
    position = net or validation.position_of(account, request.position)  # P4
    spec = validation.symbol_of(book, position.symbol)
    sl, tp = spec.price(request.sl), spec.price(request.tp)
    if (sl, tp) == (position.sl, position.tp):
        raise Refused(Retcode.NO_CHANGES)
    market = validation.quote_of(book, spec).to_fill(buy=not position.buy)
    validation.check_stops(spec, buy=position.buy, reference=market, sl=sl, tp=tp)
    validation.check_freeze(spec, market, (position.sl, position.tp))
    return position, sl, tp


def _modify(book: Book, account: Account, request: Request) -> Executed:
    order, changed = _checked_modify(book, account, request)
    validation.check_session(book, book.specs[order.symbol])
    book.put_order(changed)
    return _about(book, order)


def _about(book: Book, order: Order) -> Executed:
    return Executed(order.ticket if book.conventions.order_in_modify_result else 0)


def _checked_modify(book: Book, account: Account, request: Request) -> tuple[Order, Order]:
    """The order as it is and as it would be: price, stops and lifetime change, nothing else (rule N7)."""
    order = validation.order_of(account, request.order)
    spec = validation.symbol_of(book, order.symbol)
    wish = order_of_request(book, account, spec, order.kind, request)
    check_lifetime(book, spec, request, wish.expiration)
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
    quote = validation.quote_of(book, spec)
    validation.check_pending_price(spec, changed.kind, quote, changed.price, changed.stoplimit)
    reference = changed.stoplimit or changed.price
    validation.check_stops(spec, buy=changed.kind.is_buy, reference=reference, sl=changed.sl, tp=changed.tp)
    _check_order_freeze(book, spec, order)
    return order, changed


def _check_order_freeze(book: Book, spec: SymbolSpec, order: Order) -> None:
    market = validation.quote_of(book, spec).to_fill(buy=order.kind.is_buy)
    validation.check_freeze(spec, market, (order.price,))


def _remove(book: Book, account: Account, request: Request) -> Executed:
    order = validation.order_of(account, request.order)
    spec = validation.symbol_of(book, order.symbol)
    _check_order_freeze(book, spec, order)
    validation.check_session(book, spec)
    book.finish_order(order, order.finished(State.CANCELED, book.now_msc, left=order.volume))
    return _about(book, order)


def _close_by(book: Book, account: Account, request: Request) -> Executed:
    position, other = _checked_close_by(book, account, request)
    validation.check_session(book, book.specs[position.symbol])
    ticket, deal = execution.close_by(book, account, position, other, request)
    return Executed(ticket, deal if book.conventions.deal_in_close_by_result else 0)


def _checked_close_by(book: Book, account: Account, request: Request) -> tuple[Position, Position]:
    if account.nets:
        raise Refused(Retcode.INVALID)  # L3
    position = validation.position_of(account, request.position)
    other = validation.position_of(account, request.position_by)
    validation.check_close_by_allowed(validation.symbol_of(book, position.symbol))
    if position.symbol != other.symbol or position.buy is other.buy:
        raise Refused(Retcode.INVALID)
    return position, other


def is_marketable(book: Book, order: Order) -> bool:
    """Whether a limit order at an exchange can be filled as soon as it is placed (rules M4, N1)."""
    spec, quote = book.specs[order.symbol], book.quotes.get(order.symbol)
    if spec.execution != EXCHANGE_EXECUTION or quote is None:
        return False
    if order.kind is Kind.BUY_LIMIT:
        return quote.ask <= order.price
    return order.kind is Kind.SELL_LIMIT and quote.bid >= order.price


def cancels_at_once(book: Book, order: Order) -> bool:
    """Whether a book-or-cancel order would trade at once, and so must go (rule M4)."""
    return order.filling == FILL_BOC and is_marketable(book, order)
