"""Deposits and withdrawals, told apart from profit and loss. Pure: figures and deals of the account go in.

Money has moved as far as both say so, the balance and the deals. A terminal may show one of them earlier than the
other; until they agree nobody can know whether money was lost or taken out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from mt5_bridge.contract import CONSTANTS

_MOVES: Final = frozenset(CONSTANTS[f"DEAL_TYPE_{name}"] for name in ("BALANCE", "CREDIT", "CORRECTION", "BONUS"))
"""Charges, commissions, interest and taxes are part of the result."""
_ROUNDING: Final = 1e-8
"""Share of the balance by which a sum of deals may differ from it."""


@dataclass(frozen=True)
class Ledger:
    """Up to where the account's money is accounted for."""

    money: float
    """Balance and credit, in the account currency."""
    ticket: int
    """Of the newest deal that was counted, 0 when there was none."""
    since: int
    """From when on deals have to be asked for, seconds of the broker's wall clock since 1970."""


@dataclass(frozen=True)
class Movement:
    """What became of the money since an older ledger. Amounts in the account currency."""

    ledger: Ledger
    amount: float = 0.0
    """Paid in; below 0 paid out."""
    missing: float = 0.0
    """Gone from the balance, and no deal says why yet: 0 or less."""
    explained: bool = True
    """Balance and deals agree."""


def open_ledger(money: float, deals: Iterable[Any], since: int) -> Ledger:
    """Begin to account. `deals` are TradeDeals of `since` and later."""
    return _ledger(money, deals, 0, since)


def movement(ledger: Ledger, money: float, deals: Iterable[Any]) -> Movement:
    """Follow an account that now has `money`, balance and credit; `deals` are TradeDeals since `ledger.since`."""
    new = [deal for deal in deals if deal.ticket > ledger.ticket]
    booked = sum(_booked(deal) for deal in new if deal.type in _MOVES)
    untraded = money - ledger.money - sum(_booked(deal) for deal in new if deal.type not in _MOVES)
    amount = min(max(booked, min(0.0, untraded)), max(0.0, untraded))
    explained = abs(booked - untraded) <= _ROUNDING * max(1.0, abs(money), abs(ledger.money))
    missing = 0.0 if explained else min(0.0, untraded - amount)
    return Movement(_ledger(money, new, ledger.ticket, ledger.since), amount, missing, explained)


def _booked(deal: Any) -> float:
    return float(deal.profit + deal.swap + deal.commission + deal.fee)


def _ledger(money: float, deals: Iterable[Any], ticket: int, since: int) -> Ledger:
    newest = max(deals, key=lambda deal: deal.ticket, default=None)
    return Ledger(money, ticket, since) if newest is None else Ledger(money, newest.ticket, newest.time)
