"""How orders become deals and positions on a hedging account (rules R1-R9, S1-S3, S8)."""

from __future__ import annotations

from dataclasses import replace

from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.model import Account, Entry, Kind, Order, Position, Reason, State

_VOLUME_DIGITS = 8


def lots(value: float) -> float:
    """A volume without the dust of float arithmetic."""
    return round(value, _VOLUME_DIGITS)


def position_from(book: Book, account: Account, order: Order, price: float) -> Position:
    """The position that an execution of `order` at `price` opens; not in the book yet."""
    spec = book.specs[order.symbol]
    buy = order.kind.is_buy
    return Position(
        ticket=order.ticket,
        login=account.login,
        symbol=order.symbol,
        buy=buy,
        volume=order.volume,
        price_open=price,
        sl=order.sl,
        tp=order.tp,
        magic=order.magic,
        comment=order.comment,
        reason=order.reason,
        identifier=order.ticket,
        margin_per_lot=book.valuation.margin_per_lot(account, spec, price, buy=buy),
        time_msc=book.now_msc,
        update_msc=book.now_msc,
    )


def open_position(book: Book, account: Account, order: Order, price: float) -> int:
    """Fill an order that opens; returns the deal's ticket."""
    position = position_from(book, account, order, price)
    deal = book.add_deal(
        account,
        order=order.ticket,
        kind=Kind.BUY if position.buy else Kind.SELL,
        entry=Entry.IN,
        magic=order.magic,
        position=position.identifier,
        reason=order.reason,
        volume=order.volume,
        price=price,
        swap=0.0,
        profit=0.0,
        symbol=order.symbol,
        comment=order.comment,
    )
    book.put_position(position)
    done = order.finished(State.FILLED, book.now_msc, position=position.identifier, price_current=price)
    book.finish_order(order, done)
    return deal


def close_position(book: Book, account: Account, position: Position, order: Order, price: float) -> int:
    """Fill an order that closes `order.volume` of the position; returns the deal's ticket."""
    deal = _closing_deal(book, account, position, order, price, Entry.OUT, exit_price=price)
    done = order.finished(State.FILLED, book.now_msc, position=position.identifier, price_current=price)
    book.finish_order(order, done)
    return deal


def closing_order(
    book: Book, position: Position, volume: float, *, reason: int, comment: str, magic: int, price: float = 0.0
) -> Order:
    """A market order against the position, for the whole of it or a part."""
    return Order(
        ticket=book.new_order_ticket(),
        login=position.login,
        symbol=position.symbol,
        kind=Kind.SELL if position.buy else Kind.BUY,
        volume=volume,
        price=price,
        stoplimit=0.0,
        sl=0.0,
        tp=0.0,
        type_time=0,
        filling=0,
        expiration=0,
        magic=magic,
        comment=comment,
        reason=reason,
        setup_msc=book.now_msc,
    )


def close_by(book: Book, account: Account, position: Position, other: Position, magic: int) -> int:
    """Close two opposite positions against each other; returns the ticket of the close-by order (rule S8)."""
    volume = lots(min(position.volume, other.volume))
    comment = f"#{position.ticket} by #{other.ticket}"
    base = closing_order(book, position, volume, reason=Reason.EXPERT, comment=comment, magic=magic)
    order = replace(base, kind=Kind.CLOSE_BY)
    # The whole result is on the first deal; the second closes at its own open price's counterpart with none.
    first_exit, second_exit = other.price_open, position.price_open
    _closing_deal(book, account, position, order, first_exit, Entry.OUT_BY, exit_price=first_exit)
    _closing_deal(book, account, other, order, second_exit, Entry.OUT_BY, exit_price=None)
    done = order.finished(
        State.FILLED, book.now_msc, position=position.identifier, position_by=other.identifier, price_current=first_exit
    )
    book.finish_order(order, done)
    return order.ticket


def _closing_deal(
    book: Book, account: Account, position: Position, order: Order, price: float, entry: Entry, exit_price: float | None
) -> int:
    """Write the deal and shrink the position. `exit_price` None stands for a deal without a result."""
    volume = order.volume
    whole = lots(position.volume - volume) <= 0
    swap = position.swap if whole else account.money(position.swap * volume / position.volume)
    profit = 0.0
    if exit_price is not None:
        spec = book.specs[position.symbol]
        profit = book.valuation.profit(account, spec, volume, position.price_open, exit_price, buy=position.buy)
    deal = book.add_deal(
        account,
        order=order.ticket,
        kind=Kind.SELL if position.buy else Kind.BUY,
        entry=entry,
        magic=order.magic,
        position=position.identifier,
        reason=order.reason,
        volume=volume,
        price=price,
        swap=swap,
        profit=profit,
        symbol=position.symbol,
        comment=order.comment,
    )
    if whole:
        book.drop_position(position)
    else:
        position.volume = lots(position.volume - volume)
        position.swap = account.money(position.swap - swap)
        position.update_msc = book.now_msc
        book.put_position(position)
    return deal
