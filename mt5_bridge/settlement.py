"""What became of an order whose answer was lost, read from the account's own books. Pure decisions.

An order is recognised by everything that was asked for (symbol, side, volume, magic, comment, position), by being newer
than the watermark taken before the send, and by belonging to no other row of the journal. Not finding it says nothing
until the terminal can no longer have it, has been connected for a while, and a second look finds nothing either.

Servers round prices, and put texts of their own into comments. An order that differs in its comment alone may be ours
or another one's, so it is neither taken nor is ours called not executed: a person has to look.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from mt5_bridge.contract import CONSTANTS, FUNCTIONS, RETCODE_COMMENTS
from mt5_bridge.journal import Entry, State, trade_request
from mt5_bridge.structs import OrderSendResult, Struct

CONNECTED_SECONDS: Final = 5.0
"""How long the terminal must have been connected before an order that is not found counts as not executed."""
UNDER_WAY_SECONDS: Final = FUNCTIONS["order_send"].deadline
"""How long a terminal that has not answered may still be about to send the order: a new link does not stop it."""
CLOCK_SLACK_SECONDS: Final = 5

_DEAL, _PENDING, _SLTP, _MODIFY, _REMOVE, _CLOSE_BY = (
    CONSTANTS[f"TRADE_ACTION_{name}"] for name in ("DEAL", "PENDING", "SLTP", "MODIFY", "REMOVE", "CLOSE_BY")
)
_DONE, _PARTIAL, _REJECT = (CONSTANTS[f"TRADE_RETCODE_{name}"] for name in ("DONE", "DONE_PARTIAL", "REJECT"))
_CANCELED, _FILLED, _REJECTED = (CONSTANTS[f"ORDER_STATE_{name}"] for name in ("CANCELED", "FILLED", "REJECTED"))
_BY_THE_SERVER: Final = frozenset(CONSTANTS[f"ORDER_REASON_{name}"] for name in ("SL", "TP", "SO"))
_SL, _TP = (CONSTANTS[f"ORDER_REASON_{name}"] for name in ("SL", "TP"))
_SPECIFIED: Final = CONSTANTS["ORDER_TIME_SPECIFIED"]
_CLOSE_BY_TYPE: Final = CONSTANTS["ORDER_TYPE_CLOSE_BY"]
_VOLUME_TOLERANCE: Final = 1e-9
_PRICE_TOLERANCE: Final = 1e-9
_PRICE_DIGITS: Final = 9
_ROUNDING: Final = 5e-4
"""Of a price: what rounding to the digits of its symbol changes at most."""


@dataclass(frozen=True)
class Books:
    """The account's books: active orders, open positions, and the history since shortly before the send."""

    orders: tuple[Any, ...] = ()
    positions: tuple[Any, ...] = ()
    history_orders: tuple[Any, ...] = ()
    deals: tuple[Any, ...] = ()
    hedging: bool = True
    """Whether every opening order makes a position of its own (ACCOUNT_MARGIN_MODE_RETAIL_HEDGING)."""


@dataclass(frozen=True)
class Finding:
    """A settled outcome, with the answer that the terminal would have given."""

    state: State
    result: Struct


@dataclass(frozen=True)
class Waiting:
    """The order was found, and is still on its way; or one was found that may be it."""


def find(entry: Entry, books: Books, claimed: frozenset[int]) -> Finding | Waiting | None:
    """What the books say of the entry; None when they do not know it."""
    request = trade_request(entry.request)
    action = request.action
    if action in {_DEAL, _PENDING, _CLOSE_BY}:
        return _new_order(entry, request, books, claimed)
    if action == _SLTP:
        return _new_stops(request, books)
    if action == _MODIFY:
        matching = (o for o in books.orders if o.ticket == request.order and _waits_as_asked(o, request))
        # It may have been filled since, at the new price; what a stop-limit became has its limit as its price.
        gone = (o for o in books.history_orders if o.ticket == request.order and _was_as_asked(o, request))
        return _changed(request, (*matching, *gone), order=request.order)
    if action == _REMOVE:
        removed = [o for o in books.history_orders if o.ticket == request.order and o.state == _CANCELED]
        return _finding(request, State.DONE, _DONE, order=request.order) if removed else None
    return None


def not_executed(*, connected_for: float, sent_for: float, missed_before: bool, answered: bool) -> bool:
    """Whether an order that the books do not know may be called not executed. Times are seconds.

    `answered`: the terminal has said that it had no connection to send the order by.
    """
    wait = CONNECTED_SECONDS if answered else UNDER_WAY_SECONDS
    return missed_before and connected_for >= CONNECTED_SECONDS and sent_for >= wait


def _new_order(entry: Entry, request: Any, books: Books, claimed: frozenset[int]) -> Finding | Waiting | None:
    def may_be_ours(order: Any) -> bool:
        return (
            order.ticket > entry.watermark
            and order.ticket not in claimed
            and order.time_setup >= entry.broker_time - CLOCK_SLACK_SECONDS
            and order.reason not in _BY_THE_SERVER
            and _matches(order, request)
            and not (books.hedging and not request.position and _closes(order))
        )

    def is_ours(order: Any) -> bool:
        # The comment of a close-by is the server's in any case (S8).
        return may_be_ours(order) and (request.action == _CLOSE_BY or order.comment == request.comment)

    for order in sorted(filter(is_ours, books.history_orders), key=_ticket):
        return _from_history(request, order, books.deals)
    for order in sorted(filter(is_ours, books.orders), key=_ticket):
        if request.action == _PENDING:
            return _finding(request, State.DONE, _DONE, order=order.ticket, volume=order.volume_initial)
        return Waiting()
    return Waiting() if any(map(may_be_ours, (*books.history_orders, *books.orders))) else None


def _closes(order: Any) -> bool:
    """Whether an order of a hedging account was for a position that another order had opened."""
    return order.type != _CLOSE_BY_TYPE and order.position_id not in {0, order.ticket}


def _matches(order: Any, request: Any) -> bool:
    if request.action == _CLOSE_BY:
        return bool(order.type == _CLOSE_BY_TYPE and order.position_id == request.position)
    if request.position and order.position_id != request.position:
        return False
    if request.action == _PENDING and not _same_price(order.price_open, request.price):
        return False
    return bool(
        order.symbol == request.symbol
        and order.type == request.type
        and order.magic == request.magic
        and abs(order.volume_initial - request.volume) <= _VOLUME_TOLERANCE
    )


def _from_history(request: Any, order: Any, deals: Iterable[Any]) -> Finding:
    """A pending order was carried out by being placed, whatever became of it later; a deal needs a fill."""
    if request.action == _PENDING:
        return _finding(request, State.DONE, _DONE, order=order.ticket, volume=order.volume_initial)
    own = [deal for deal in deals if deal.order == order.ticket]
    filled = sum(deal.volume for deal in own)
    if order.state != _FILLED and not own:
        return _finding(request, State.REFUSED, _REJECT, order=order.ticket)
    price = sum(deal.volume * deal.price for deal in own) / filled if filled else order.price_current
    return _finding(
        request,
        State.DONE,
        _DONE if order.state == _FILLED else _PARTIAL,
        order=order.ticket,
        deal=own[0].ticket if own else 0,
        volume=filled or order.volume_initial,
        price=round(price, _PRICE_DIGITS),
    )


def _new_stops(request: Any, books: Books) -> Finding | None:
    """The position has the stops that were asked for, or was closed at one of them since."""
    found = _changed(request, (p for p in books.positions if _sltp_target(p, request)), order=0)
    if found is not None or not request.position:
        return found
    levels = {_SL: request.sl, _TP: request.tp}
    closed_by_it = any(
        order.position_id == request.position
        and levels.get(order.reason, 0.0)
        and _same_price(order.price_open, levels[order.reason])
        for order in books.history_orders
    )
    return _finding(request, State.DONE, _DONE) if closed_by_it else None


def _waits_as_asked(order: Any, request: Any) -> bool:
    """Whether an active order has the prices and the end of its life that were asked for; stops are looked at later.

    The end of a day is the server's to say, so of the lives that end with one the kind alone counts.
    """
    same_end = request.type_time != _SPECIFIED or order.time_expiration == request.expiration
    same_prices = _same_price(order.price_open, request.price) and _same_price(order.price_stoplimit, request.stoplimit)
    triggered = request.stoplimit and not order.price_stoplimit and _same_price(order.price_open, request.stoplimit)
    return bool((same_prices or triggered) and order.type_time == request.type_time and same_end)


def _was_as_asked(order: Any, request: Any) -> bool:
    return _same_price(order.price_open, request.stoplimit or request.price)


def _sltp_target(position: Any, request: Any) -> bool:
    if request.position:
        return bool(position.ticket == request.position)
    return bool(position.symbol == request.symbol)


def _changed(request: Any, targets: Iterable[Any], order: int) -> Finding | None:
    for target in targets:
        if _same_price(target.sl, request.sl) and _same_price(target.tp, request.tp):
            return _finding(request, State.DONE, _DONE, order=order)
    return None


def _finding(request: Struct, state: State, retcode: int, **values: float) -> Finding:
    fields: dict[str, Any] = {
        "deal": 0,
        "order": 0,
        "volume": 0.0,
        "price": 0.0,
        "bid": 0.0,
        "ask": 0.0,
        "request_id": 0,
        "retcode_external": 0,
    }
    fields |= values
    fields |= {"retcode": retcode, "comment": RETCODE_COMMENTS.get(retcode, ""), "request": request}
    return Finding(state, OrderSendResult(fields[name] for name in OrderSendResult.field_names))


def _same_price(booked: float, asked: float) -> bool:
    """Whether it is what was asked for, or that rounded to some number of digits."""
    if abs(booked - asked) <= _PRICE_TOLERANCE:
        return True
    near = abs(booked - asked) <= _ROUNDING * abs(asked)
    return near and any(abs(round(asked, digits) - booked) <= _PRICE_TOLERANCE for digits in range(_PRICE_DIGITS))


def _ticket(order: Any) -> int:
    return int(order.ticket)
