"""Deals as facts of an account's book, apart from where they were read: the broker's or the trade log."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from control_plane.db.types import money
from mt5_bridge.contract import CONSTANT_GROUPS

_TYPES = CONSTANT_GROUPS["DEAL_TYPE"]
DEAL_TYPE_NAMES = {code: name.removeprefix("DEAL_").removeprefix("TYPE_").lower() for name, code in _TYPES.items()}
BUY, SELL = _TYPES["DEAL_TYPE_BUY"], _TYPES["DEAL_TYPE_SELL"]
_ENTRIES = CONSTANT_GROUPS["DEAL_ENTRY"]
ENTRY_IN, ENTRY_OUT = _ENTRIES["DEAL_ENTRY_IN"], _ENTRIES["DEAL_ENTRY_OUT"]
ENTRY_INOUT, ENTRY_OUT_BY = _ENTRIES["DEAL_ENTRY_INOUT"], _ENTRIES["DEAL_ENTRY_OUT_BY"]
_CREDIT = _TYPES["DEAL_TYPE_CREDIT"]
_FLOWS = frozenset(_TYPES[f"DEAL_TYPE_{name}"] for name in ("BALANCE", "CORRECTION", "BONUS"))
_CANCELED = frozenset(_TYPES[f"DEAL_TYPE_{name}"] for name in ("BUY_CANCELED", "SELL_CANCELED"))


class DealKind(StrEnum):
    """What a deal does to the account."""

    TRADE = "trade"
    FLOW = "flow"
    """Money that comes or goes and was not earned: deposits, withdrawals, corrections, bonuses."""
    CREDIT = "credit"
    """Lent by the broker; not part of the balance."""
    COST = "cost"
    """Earned or paid without a trade: charges, commissions of a day or month, interest, dividends, tax."""


class DealFacts(NamedTuple):
    """A `TradeDeal` under its own field names, money exact to eight decimals, time in broker wall clock."""

    ticket: int
    order: int
    time_msc: int
    type: int
    entry: int
    magic: int
    position_id: int
    reason: int
    volume: float
    price: float
    commission: Decimal
    swap: Decimal
    profit: Decimal
    fee: Decimal
    symbol: str

    @property
    def amount(self) -> Decimal:
        """What it adds to balance or credit."""
        return self.profit + self.commission + self.swap + self.fee

    @property
    def kind(self) -> DealKind:
        if self.type in (BUY, SELL) or self.type in _CANCELED:
            return DealKind.TRADE
        if self.type == _CREDIT:
            return DealKind.CREDIT
        return DealKind.FLOW if self.type in _FLOWS else DealKind.COST


def facts_of(deal: Any) -> DealFacts:
    """From a `TradeDeal` or the body of an event. Raises ValueError for impossible amounts."""
    return DealFacts(
        deal.ticket,
        deal.order,
        deal.time_msc,
        deal.type,
        deal.entry,
        deal.magic,
        deal.position_id,
        deal.reason,
        deal.volume + 0.0,
        deal.price + 0.0,
        money(deal.commission) + 0,
        money(deal.swap) + 0,
        money(deal.profit) + 0,
        money(deal.fee) + 0,
        deal.symbol[:64],
    )


def book_order(deal: DealFacts) -> tuple[int, int]:
    """Deals of one millisecond follow each other by ticket."""
    return deal.time_msc, deal.ticket


def balance_of(deals: list[DealFacts]) -> Decimal:
    """What the account's balance must be if these are all its deals."""
    return sum((deal.amount for deal in deals if deal.kind is not DealKind.CREDIT), Decimal(0))
