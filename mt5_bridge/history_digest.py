"""Digests of an account's history by periods of broker time, so that two copies of it are compared without sending it.

Both sides compute them from this file: the worker from what its terminal shows, the farm from its trade log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

PERIOD_SECONDS: Final = 30 * 86_400
"""Length of a period; they begin at multiples of it, broker wall clock since 1970."""
_SMALLEST: Final = Decimal("0.00000001")
_MODULUS: Final = 1 << 128
_EXACT_CENTS: Final = 1e12

Digests = dict[int, tuple[int, str]]
"""Beginning of a period in seconds to the number of rows in it and a digest of them, whatever their order."""


def exact_text(amount: float | Decimal) -> str:
    """An amount as a whole number of 1e-8, rounded as the trade log rounds what it stores; as it is when it is none."""
    if isinstance(amount, float) and abs(amount) < _EXACT_CENTS and amount == round(amount, 2):
        return str(round(amount * 100) * 1_000_000)  # nearly all amounts, at a third of the cost
    exact = amount if isinstance(amount, Decimal) else Decimal(repr(amount))
    try:
        return str(int(exact.quantize(_SMALLEST).scaleb(8)))
    except (ArithmeticError, ValueError):
        return repr(amount)


def deal_text(deal: Any) -> str:
    """What of a `TradeDeal` must be alike on both sides: all but its comment and the numbers of foreign systems."""
    return (
        f"{deal.ticket},{deal.order},{deal.time_msc},{deal.type},{deal.entry},{deal.magic},{deal.position_id},"
        f"{deal.reason},{deal.volume + 0.0!r},{deal.price + 0.0!r},{exact_text(deal.commission)},"
        f"{exact_text(deal.swap)},{exact_text(deal.profit)},{exact_text(deal.fee)},{plain_symbol(deal.symbol)}"
    )


def order_text(order: Any) -> str:
    """The same of a `TradeOrder` of the history."""
    return (
        f"{order.ticket},{order.time_setup_msc},{order.time_done_msc},{order.type},{order.state},{order.magic},"
        f"{order.position_id},{order.reason},{order.volume_initial + 0.0!r},{order.volume_current + 0.0!r},"
        f"{order.price_open + 0.0!r},{order.sl + 0.0!r},{order.tp + 0.0!r},{plain_symbol(order.symbol)}"
    )


def plain_symbol(symbol: str) -> str:
    """A name of which nothing is lost on its way through databases; characters that may be are all the same."""
    return symbol if symbol.isascii() and symbol.isprintable() else symbol.encode("ascii", "replace").decode()


def period_of(seconds: int) -> int:
    """Beginning of the period that a moment lies in, both broker wall clock in seconds."""
    return seconds - seconds % PERIOD_SECONDS


def digests(rows: Iterable[Any], text: Callable[[Any], str], msc: Callable[[Any], int]) -> Digests:
    """`msc` gives the time that a row is filed under, broker wall clock in milliseconds."""
    counts: dict[int, int] = {}
    sums: dict[int, int] = {}
    for row in rows:
        period = period_of(msc(row) // 1000)
        found = hashlib.blake2b(text(row).encode("utf-8", "replace"), digest_size=16).digest()
        counts[period] = counts.get(period, 0) + 1
        # A sum, not an exclusive or: a row that is there twice must not vanish.
        sums[period] = (sums.get(period, 0) + int.from_bytes(found)) % _MODULUS
    return {period: (counts[period], f"{sums[period]:032x}") for period in sorted(counts)}


def deal_msc(deal: Any) -> int:
    return int(deal.time_msc)


def order_msc(order: Any) -> int:
    """When it was done: the history is asked by that time (behaviour of `history_orders_get`)."""
    return int(order.time_done_msc)
