"""The book as the API shows it: account, positions, orders, history, with the package's filters (sections H, W)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import Any

from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.filters import matches_group
from mt5_bridge.simulated.engine.model import Account
from mt5_bridge.structs import AccountInfo, Struct

Records = tuple[Struct, ...]


def account_info(book: Book, account: Account, server: str, company: str) -> Struct:
    """AccountInfo with the sums of the moment (rule H1)."""
    state = book.valuation.state(account)
    return AccountInfo(
        (
            account.login,
            account.trade_mode,
            account.leverage,
            account.limit_orders,
            account.margin_so_mode,
            account.trade_allowed,
            account.trade_expert,
            account.margin_mode,
            account.currency_digits,
            account.fifo_close,
            account.balance,
            account.credit,
            state.profit,
            state.equity,
            state.margin,
            account.money(state.equity - state.margin),
            state.level,
            account.margin_so_call,
            account.margin_so_so,
            0.0,
            0.0,
            0.0,
            0.0,
            account.commission_blocked,
            account.name,
            server,
            account.currency,
            company,
        )
    )


def positions(book: Book, account: Account, filters: Mapping[str, Any]) -> Records:
    """Open positions by ticket, symbol or group, in this order of precedence (rules W1-W3)."""
    held = account.positions.values()
    chosen = [one for one in held if _passes(one.ticket, one.symbol, filters)] if filters else list(held)
    chosen.sort(key=lambda one: one.ticket)
    return tuple(one.struct(*book.valuation.floating(account, one)) for one in chosen)


def orders(book: Book, account: Account, filters: Mapping[str, Any]) -> Records:
    """Active orders, filtered as positions are."""
    chosen = [one for one in account.orders.values() if _passes(one.ticket, one.symbol, filters)]
    chosen.sort(key=lambda one: one.ticket)
    return tuple(one.active(book.quotes.get(one.symbol)) for one in chosen)


def _passes(ticket: int, symbol: str, filters: Mapping[str, Any]) -> bool:
    if "ticket" in filters:
        return bool(ticket == filters["ticket"])
    if "symbol" in filters:
        return bool(symbol == filters["symbol"])
    return matches_group(symbol, filters["group"]) if "group" in filters else True


def history_orders(account: Account, dates: tuple[int, ...], filters: Mapping[str, Any]) -> Records:
    """Finished orders by time_done (dates in seconds, both ends inclusive), ticket or position (rules W4-W8)."""
    if dates:
        return _between(account.history, 4, dates, filters)
    if "ticket" in filters:
        return tuple(one for one in account.history if one.ticket == filters["ticket"])[:1]
    return tuple(one for one in account.history if one.position_id == filters["position"])


def history_deals(account: Account, dates: tuple[int, ...], filters: Mapping[str, Any]) -> Records:
    """Deals by time, ticket (of the deal, else of its order) or position."""
    if dates:
        return _between(account.deals, 3, dates, filters)
    if "ticket" in filters:
        ticket = filters["ticket"]
        found = [one for one in account.deals if one.ticket == ticket]
        return tuple(found or [one for one in account.deals if one.order == ticket])[:1]
    return tuple(one for one in account.deals if one.position_id == filters["position"])


def _between(records: list[Struct], milliseconds: int, dates: tuple[int, ...], filters: Mapping[str, Any]) -> Records:
    """Records are written down in order of time, so the range is found by bisection."""
    first, last = dates
    start = bisect_left(records, first * 1000, key=lambda one: one[milliseconds])
    stop = bisect_right(records, last * 1000 + 999, key=lambda one: one[milliseconds])
    found = tuple(records[start : max(start, stop)])
    if "group" in filters:
        return tuple(one for one in found if matches_group(one.symbol, filters["group"]))
    return found
