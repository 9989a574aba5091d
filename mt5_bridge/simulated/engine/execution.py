"""How orders become deals and positions (rules R1-R9, S1-S8), on hedging and on netting accounts."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.model import Account, Entry, Kind, Order, Position, Reason, State
from mt5_bridge.simulated.engine.request import Request

_VOLUME_DIGITS = 8
_BUY, _SELL, _FILLED = Kind.BUY, Kind.SELL, State.FILLED
_OPENING = (Entry.IN, Entry.INOUT)
_SERVER_S_OWN = Reason.ROLLOVER
"""Reasons from here on are things that the server does by itself."""
MEAN_DIGITS = 3
"""Digits that a mean open price, or one after a split, has beyond those of the symbol (rule S4)."""


class Fill(NamedTuple):
    """A deal and the identifier of the position that it belongs to."""

    deal: int
    identifier: int


def lots(value: float) -> float:
    """A volume without the dust of float arithmetic."""
    return round(value, _VOLUME_DIGITS)


def position_from(
    book: Book, account: Account, order: Order, volume: float, price: float, *, maintenance: bool = True
) -> Position:
    """The position that an execution of `order` at `price` opens; not in the book yet."""
    spec = book.specs[order.symbol]
    buy = order.kind.is_buy
    return Position(
        ticket=order.ticket,
        login=account.login,
        symbol=order.symbol,
        buy=buy,
        volume=volume,
        price_open=price,
        sl=order.sl,
        tp=order.tp,
        magic=order.magic,
        comment=order.comment,
        reason=order.reason,
        identifier=order.ticket,
        margin_per_lot=book.valuation.margin_per_lot(account, spec, price, buy=buy, maintenance=maintenance),
        time_msc=book.now_msc,
        update_msc=book.now_msc,
    )


def margin_after(book: Book, account: Account, order: Order, price: float) -> float:
    """The account's margin if the order were filled."""
    if account.positions or account.orders:
        return book.valuation.margin_with(account, positions_after(book, account, order, price))
    per_lot = book.valuation.margin_per_lot(account, book.specs[order.symbol], price, buy=order.kind.is_buy)
    return account.money(order.volume * per_lot)


def positions_after(book: Book, account: Account, order: Order, price: float) -> list[Position]:
    """The account's positions if the order were filled, with the margin that it takes to open."""
    held = list(account.positions.values())
    if order.position:
        closed = account.positions[order.position]
        rest = lots(closed.volume - order.volume)
        others = [one for one in held if one is not closed]
        return [*others, replace(closed, volume=rest)] if rest > 0 else others
    fresh = position_from(book, account, order, order.volume, price, maintenance=False)
    before = account.net_position(order.symbol) if account.nets else None
    if before is None:
        return [*held, fresh]
    after = netted(before, fresh, book.specs[order.symbol].digits)
    return [one for one in held if one is not before] + ([] if after is None else [after])


def netted(held: Position, fresh: Position, digits: int) -> Position | None:
    """What one more execution makes of a net position: added to, reduced, reversed, or None when closed (S4-S6)."""
    volume = lots(held.volume + fresh.volume) if held.buy is fresh.buy else lots(held.volume - fresh.volume)
    if held.buy is fresh.buy:
        share = fresh.volume / volume
        price = held.price_open + (fresh.price_open - held.price_open) * share
        return replace(
            held,
            volume=volume,
            price_open=round(price, digits + MEAN_DIGITS),
            interest=held.interest * (1.0 - share),
            margin_per_lot=held.margin_per_lot + (fresh.margin_per_lot - held.margin_per_lot) * share,
            sl=fresh.sl,
            tp=fresh.tp,
            magic=fresh.magic,
            update_msc=fresh.update_msc,
        )
    if volume > 0:
        return replace(held, volume=volume, magic=fresh.magic, update_msc=fresh.update_msc)
    if volume == 0:
        return None
    return replace(fresh, volume=-volume, identifier=held.identifier)


def fill(book: Book, account: Account, order: Order, volume: float, price: float) -> Fill:
    """Execute `volume` of an order at `price`. The order stays in the book: `settle` takes it out."""
    book.take(book.specs[order.symbol], volume, buy=order.kind.is_buy)
    held = account.positions.get(order.position) if order.position else None
    if held is None and account.nets:
        held = account.net_position(order.symbol)
    if held is None or not (order.position or account.nets):
        return _open(book, account, order, volume, price)
    if order.position:
        return Fill(close(book, account, held, order, volume, price), held.identifier)
    return _net(book, account, held, order, volume, price)


def settle(book: Book, order: Order, state: State, identifier: int, price: float) -> None:
    """Take an order that is done into the history; what is left of it stays unfilled."""
    left = order.volume
    order.initial = order.initial or order.volume
    record = order.finished(state, book.now_msc, position=identifier, left=left, price_current=price)
    book.finish_order(order, record)


def fill_whole(book: Book, account: Account, order: Order, price: float) -> int:
    """Fill an order completely and take it into the history; returns the deal's ticket."""
    done = fill(book, account, order, order.volume, price)
    order.initial, order.volume = order.initial or order.volume, 0.0
    settle(book, order, _FILLED, done.identifier, price)
    return done.deal


def _open(book: Book, account: Account, order: Order, volume: float, price: float) -> Fill:
    """Open a position, or add to it when the order has been filled in part before."""
    fresh = position_from(book, account, order, volume, price)
    earlier = account.positions.get(order.ticket)
    position = fresh if earlier is None else netted(earlier, fresh, book.specs[order.symbol].digits)
    assert position is not None
    deal = _deal(book, account, order, position.identifier, Entry.IN, volume, price)
    book.put_position(position)
    return Fill(deal, position.identifier)


def _net(book: Book, account: Account, held: Position, order: Order, volume: float, price: float) -> Fill:
    """An execution on the net position of its symbol (rules S4-S6)."""
    fresh = position_from(book, account, order, volume, price)
    after = netted(held, fresh, book.specs[order.symbol].digits)
    if held.buy is fresh.buy:
        deal = _deal(book, account, order, held.identifier, Entry.IN, volume, price)
    else:
        closed = min(held.volume, volume)
        swap = _swap_share(account, held, closed)
        profit = _profit(book, account, held, closed, price)
        entry = Entry.INOUT if volume > held.volume else Entry.OUT
        deal = _deal(book, account, order, held.identifier, entry, volume, price, swap=swap, profit=profit)
        if after is not None and after.buy is held.buy:
            after.swap = account.money(held.swap - swap)
    book.drop_position(held)
    if after is not None:
        book.put_position(after)
    return Fill(deal, held.identifier)


def close(book: Book, account: Account, position: Position, order: Order, volume: float, price: float) -> int:
    """Close `volume` of a position by an order; returns the deal's ticket."""
    profit = _profit(book, account, position, volume, price)
    return _closing_deal(book, account, position, order, volume, price, Entry.OUT, profit)


def closing_order(
    book: Book, position: Position, volume: float, *, reason: int, comment: str, magic: int, price: float = 0.0
) -> Order:
    """A market order against the position, for the whole of it or a part."""
    return Order(
        ticket=book.new_order_ticket(),
        login=position.login,
        symbol=position.symbol,
        kind=_SELL if position.buy else _BUY,
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
        position=position.ticket,
    )


def close_by(book: Book, account: Account, position: Position, other: Position, request: Request) -> tuple[int, int]:
    """Close two opposite positions against each other; returns the tickets of the order and its first deal (S8)."""
    volume = lots(min(position.volume, other.volume))
    comment = f"#{position.ticket} by #{other.ticket}"
    base = closing_order(book, position, volume, reason=request.reason, comment=comment, magic=request.magic)
    order = replace(base, kind=Kind.CLOSE_BY)
    # The whole result is on the first deal; the second closes at its own open price's counterpart with none.
    first_exit, second_exit = other.price_open, position.price_open
    profit = _profit(book, account, position, volume, first_exit)
    deal = _closing_deal(book, account, position, order, volume, first_exit, Entry.OUT_BY, profit)
    _closing_deal(book, account, other, order, volume, second_exit, Entry.OUT_BY, 0.0)
    done = order.finished(
        State.FILLED, book.now_msc, position=position.identifier, position_by=other.identifier, price_current=first_exit
    )
    book.finish_order(order, done)
    return order.ticket, deal


def _closing_deal(
    book: Book,
    account: Account,
    position: Position,
    order: Order,
    volume: float,
    price: float,
    entry: Entry,
    profit: float,
) -> int:
    """Write the deal and shrink the position."""
    swap = _swap_share(account, position, volume)
    kind = _SELL if position.buy else _BUY
    deal = _deal(book, account, order, position.identifier, entry, volume, price, swap=swap, profit=profit, kind=kind)
    rest = lots(position.volume - volume)
    if rest <= 0:
        book.drop_position(position)
    else:
        position.volume = rest
        position.swap = account.money(position.swap - swap)
        position.update_msc = book.now_msc
        book.put_position(position)
    return deal


def _swap_share(account: Account, position: Position, volume: float) -> float:
    """The part of a position's swap that goes with `volume` of it (rules S2, U5)."""
    if not position.swap or lots(position.volume - volume) <= 0:
        return position.swap
    return account.money(position.swap * volume / position.volume)


def _profit(book: Book, account: Account, position: Position, volume: float, price: float) -> float:
    spec = book.specs[position.symbol]
    opened, interest = position.price_open, position.interest
    return book.valuation.profit(account, spec, volume, opened, price, buy=position.buy, interest=interest)


def _deal(
    book: Book,
    account: Account,
    order: Order,
    identifier: int,
    entry: Entry,
    volume: float,
    price: float,
    *,
    swap: float = 0.0,
    profit: float = 0.0,
    kind: Kind | None = None,
) -> int:
    spec = book.specs[order.symbol]
    # What the server does by itself at a day's end or a split is no trade that anybody pays for.
    asked = order.reason < _SERVER_S_OWN
    charged = asked and (entry in _OPENING or spec.commission_on_exit)
    side = kind if kind is not None else _BUY if order.kind.is_buy else _SELL
    return book.add_deal(
        account,
        order=order.ticket,
        kind=side,
        entry=entry,
        magic=order.magic,
        position=identifier,
        reason=order.reason,
        volume=volume,
        price=price,
        swap=swap,
        profit=profit,
        symbol=order.symbol,
        comment=order.comment,
        commission=-account.money(spec.commission * volume) if charged and spec.commission else 0.0,
        fee=-account.money(spec.fee) if asked and spec.fee else 0.0,
    )
