"""Margin call and stop out (section V)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.execution import lots
from mt5_bridge.simulated.engine.model import DEAL_BALANCE, REAL_ACCOUNT, SO_MONEY, Account, Position, Reason, State
from mt5_bridge.simulated.engine.money import AccountState

_DISABLED = 0

Closer = Callable[[Position, float, str], bool]
"""Closes so many lots of a position with a comment; False when that cannot be done now."""


def is_margin_call(book: Book, account: Account) -> bool:
    """Whether the account is at or under its margin call (rule V1): a flag, trading goes on."""
    return _is_under(book, account, book.valuation.state(account), account.margin_so_call)


def is_under_stop_out(book: Book, account: Account, state: AccountState) -> bool:
    """Whether the account in some state of its money is at or under its stop out (rules V1, V4)."""
    return _is_under(book, account, state, account.margin_so_so)


def _is_under(book: Book, account: Account, state: AccountState, limit: float) -> bool:
    if not state.margin:
        return bool(account.positions) and book.conventions.stop_out_of_hedged and state.equity < 0.0  # V4
    value = state.equity if account.margin_so_mode == SO_MONEY else state.level
    return value <= limit if book.conventions.stop_out_at_equal else value < limit


def stop_out(book: Book, account: Account, close: Closer) -> bool:
    """Free margin until the account is above its stop out (rules V2-V6); True if anything was done."""
    happened = False
    skipped: set[int] = set()
    while is_under_stop_out(book, account, state := book.valuation.state(account)):
        if _drop_order(book, account):
            happened = True
            continue
        loser = _next_to_close(book, account, skipped)
        if loser is None:
            break
        comment = f"[so {state.equity:.2f}]" if account.margin_so_mode == SO_MONEY else f"[so {state.level:.2f}%]"
        if close(loser, _share(book, account, loser), comment):
            happened = True
        else:
            skipped.add(loser.ticket)
    if happened and not account.positions and account.balance < 0 and book.conventions.compensate_negative_balance:
        _compensate(book, account)
    return happened


def _drop_order(book: Book, account: Account) -> bool:
    """Delete the pending order that reserves the most margin; orders without margin stay (rule V2)."""
    reserved = {ticket: book.valuation.order_margin(account, order) for ticket, order in account.orders.items()}
    ticket = max(reserved, key=lambda one: reserved[one], default=0)
    if not reserved.get(ticket):
        return False
    order = account.orders[ticket]
    book.finish_order(order, order.finished(State.CANCELED, book.now_msc, left=order.volume))
    return True


def _next_to_close(book: Book, account: Account, skipped: set[int]) -> Position | None:
    """The position with the largest loss (if all gain, the smallest profit) among those that trade now."""
    closable = [one for one in account.positions.values() if one.ticket not in skipped and _trades(book, one)]
    if account.fifo_close:
        closable = _oldest_losers(book, account, closable) or closable  # V3
    return min(closable, key=lambda one: book.valuation.floating(account, one)[1], default=None)


def _trades(book: Book, position: Position) -> bool:
    spec = book.specs[position.symbol]
    return spec.trade_mode != _DISABLED and book.is_open(spec) and position.symbol in book.quotes


def _oldest_losers(book: Book, account: Account, closable: Iterable[Position]) -> list[Position]:
    oldest: dict[str, Position] = {}
    for position in sorted(closable, key=lambda one: one.ticket):
        if book.valuation.floating(account, position)[1] < 0:
            oldest.setdefault(position.symbol, position)
    return list(oldest.values())


def _share(book: Book, account: Account, position: Position) -> float:
    """What is closed at once: on a real netting account not more than the symbol's largest volume (rule O2)."""
    if account.nets and account.trade_mode == REAL_ACCOUNT:
        return lots(min(position.volume, book.specs[position.symbol].volume_max))
    return position.volume


def _compensate(book: Book, account: Account) -> None:
    """Make up a negative balance (rule V6)."""
    book.add_deal(
        account,
        order=0,
        kind=DEAL_BALANCE,
        entry=0,
        magic=0,
        position=0,
        reason=Reason.CLIENT,
        volume=0.0,
        price=0.0,
        swap=0.0,
        profit=-account.balance,
        symbol="",
        comment="so compensation",
    )
