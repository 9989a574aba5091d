"""Positions that the server closes and opens again: swaps by reopening, variation margin, splits (rules R4, U4)."""

from __future__ import annotations

from mt5_bridge.simulated.engine import execution
from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.model import Account, Kind, Order, Position, Reason, State
from mt5_bridge.simulated.symbols import SymbolSpec


def reopen(
    book: Book,
    account: Account,
    position: Position,
    reason: Reason,
    *,
    closed_at: float,
    opened_at: float,
    ratio: float = 1.0,
) -> None:
    """Close a position at one price and open it at another with `ratio` times its volume, stops and marks kept."""
    volume = execution.lots(position.volume * ratio)
    closing = execution.closing_order(
        book, position, position.volume, reason=reason, comment=position.comment, magic=position.magic
    )
    execution.fill_whole(book, account, closing, closed_at)
    execution.fill_whole(book, account, _opening(book, position, reason, volume, ratio), opened_at)


def split(book: Book, spec: SymbolSpec, ratio: float) -> None:
    """Make `ratio` shares of each: positions keep their value, pending orders of the symbol are cancelled.

    The prices that follow must be those after the split.
    """
    for account in book.accounts.values():
        for order in [one for one in account.orders.values() if one.symbol == spec.name]:
            book.finish_order(order, order.finished(State.CANCELED, book.now_msc, left=order.volume))
        for position in [one for one in account.positions.values() if one.symbol == spec.name]:
            price = position.price_open
            reopen(
                book,
                account,
                position,
                Reason.SPLIT,
                closed_at=price,
                opened_at=round(price / ratio, spec.digits + execution.MEAN_DIGITS),
                ratio=ratio,
            )


def _opening(book: Book, position: Position, reason: Reason, volume: float, ratio: float) -> Order:
    spec = book.specs[position.symbol]
    return Order(
        ticket=book.new_order_ticket(),
        login=position.login,
        symbol=position.symbol,
        kind=Kind.BUY if position.buy else Kind.SELL,
        volume=volume,
        price=0.0,
        stoplimit=0.0,
        sl=spec.price(position.sl / ratio),
        tp=spec.price(position.tp / ratio),
        type_time=0,
        filling=0,
        expiration=0,
        magic=position.magic,
        comment=position.comment,
        reason=reason,
        setup_msc=book.now_msc,
    )
