"""Read a broker's book through a terminal, as little of it as tells how the trade log differs from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from control_plane.access.port import RefusedError, TerminalSession
from control_plane.db.types import money
from control_plane.trading.ledger import DealFacts, facts_of
from control_plane.trading.model import HistoryOrder
from control_plane.trading.reconciliation import Difference, Side, compare, compare_balance, differing_periods
from control_plane.trading.state import Subject
from mt5_bridge.history_digest import (
    PERIOD_SECONDS,
    Digests,
    deal_msc,
    deal_text,
    digests,
    order_msc,
    order_text,
    period_of,
)
from mt5_bridge.pulse import END_OF_TIME
from node_agent.protocol.encoding import storable

_TEXT = 500
_SPAN = 12 * PERIOD_SECONDS
"""About a year: so much history is digested in one call, during which the terminal's worker serves nobody else."""
_ORDER_SHOWN = (
    "ticket",
    "time_setup_msc",
    "time_done_msc",
    "type",
    "state",
    "magic",
    "position_id",
    "reason",
    "volume_initial",
    "volume_current",
    "price_open",
    "sl",
    "tp",
    "symbol",
)


class NoAnswerError(Exception):
    """The terminal did not show its book, or not all of it. `str()` is for the owner of the account."""


@dataclass(frozen=True)
class Log:
    """What the farm holds of an account's book."""

    deals: Sequence[DealFacts]
    orders: Sequence[HistoryOrder]


@dataclass(frozen=True)
class Look:
    """What one comparison has seen."""

    differences: list[Difference]
    deals: dict[int, Any]
    """`TradeDeal`s that had to be read, by ticket."""
    orders: dict[int, Any]
    fetched: int
    """Rows that had to be read."""


def shown_deal(deal: Any) -> dict[str, Any]:
    facts = deal if isinstance(deal, DealFacts) else facts_of(deal)
    return {
        name: str(value) if isinstance(value, Decimal) else storable(value, 64) if isinstance(value, str) else value
        for name, value in facts._asdict().items()
    }


def shown_order(order: Any) -> dict[str, Any]:
    fields = {name: getattr(order, name) for name in _ORDER_SHOWN}
    return {name: storable(value, 64) if isinstance(value, str) else value for name, value in fields.items()}


DEALS = Side(Subject.DEAL, deal_text, shown_deal)
ORDERS = Side(Subject.ORDER, order_text, shown_order)


def look(terminal: TerminalSession, log: Log) -> Look:
    """Compare the log with the book of this terminal's account. Raises NoAnswerError, LinkLostError, RefusedError."""
    deals = _Reader(terminal, "deals", terminal.history_deals_get, deal_text, deal_msc, log.deals)
    orders = _Reader(terminal, "orders", terminal.history_orders_get, order_text, order_msc, log.orders)
    account = terminal.account_info()
    if account is None:
        raise NoAnswerError("The terminal did not say what is on the account.")
    our_deals, their_deals = deals.differing()
    our_orders, their_orders = orders.differing()
    usable = [deal for deal in their_deals if _is_storable(deal)]
    found = [*compare(DEALS, our_deals, usable), *compare(ORDERS, our_orders, their_orders)]
    replaced = {deal.ticket for deal in our_deals}
    book = [deal for deal in log.deals if deal.ticket not in replaced]
    book += {deal.ticket: facts_of(deal) for deal in reversed(usable)}.values()
    found += compare_balance(money(account.balance), book)
    return Look(
        found,
        {deal.ticket: deal for deal in reversed(usable)},
        {order.ticket: order for order in reversed(their_orders)},
        len(their_deals) + len(their_orders),
    )


class _Reader:
    """One subject of the book."""

    def __init__(
        self,
        terminal: TerminalSession,
        subject: Literal["deals", "orders"],
        get: Callable[[int, int], tuple[Any, ...] | None],
        text: Callable[[Any], str],
        msc: Callable[[Any], int],
        ours: Sequence[Any],
    ) -> None:
        self._terminal = terminal
        self._subject = subject
        self._get = get
        self._text = text
        self._msc = msc
        self._ours = ours

    def differing(self) -> tuple[list[Any], list[Any]]:
        """The rows of both sides in periods that are not alike."""
        here = digests(self._ours, self._text, self._msc)
        there = self._digests(here)
        if here and not there:
            # A terminal that has just started may not have read its history yet, and "not found" is not "none".
            raise NoAnswerError(f"The terminal shows none of the account's {self._subject}.")
        periods = set(differing_periods(here, there))
        ours = [row for row in self._ours if period_of(self._msc(row) // 1000) in periods]
        return ours, self._rows(periods) if periods else []

    def _digests(self, here: Digests) -> Digests:
        found: Digests = {}
        try:
            for date_from, date_to in self._spans(here):
                part = self._terminal.history_digests(self._subject, date_from, date_to)
                found |= self._answer(part)
        except RefusedError as refusal:
            if refusal.code != "not_allowed":
                raise
            return digests(self._answer(self._get(0, END_OF_TIME)), self._text, self._msc)
        return found

    def _spans(self, here: Digests) -> list[tuple[int, int]]:
        """Orders are asked for at once: a terminal may file them under the time they were placed."""
        if self._subject == "orders" or not here:
            return [(0, END_OF_TIME)]
        first, last = min(here), max(here)
        starts = list(range(first, last + PERIOD_SECONDS, _SPAN))
        ends = [*(start - 1 for start in starts[1:]), END_OF_TIME]
        before = [(0, first - 1)] if first > 0 else []
        return [*before, *zip(starts, ends, strict=True)]

    def _rows(self, periods: set[int]) -> list[Any]:
        if self._subject == "orders" or len(periods) > _SPAN // PERIOD_SECONDS:
            spans = [(0, END_OF_TIME)]
        else:
            spans = [(period, period + PERIOD_SECONDS - 1) for period in sorted(periods)]
        rows = [row for span in spans for row in self._answer(self._get(*span))]
        return [row for row in rows if period_of(self._msc(row) // 1000) in periods]

    def _answer(self, answer: Any) -> Any:
        if answer is None:
            raise NoAnswerError(f"The terminal did not show the account's {self._subject}.")
        return answer


def storable_fields(struct: Any) -> dict[str, Any]:
    """Of a result struct, for the bodies of the agent protocol."""
    fields: dict[str, Any] = struct._asdict()
    return {name: storable(value, _TEXT) if isinstance(value, str) else value for name, value in fields.items()}


def _is_storable(deal: Any) -> bool:
    """What cannot be written down is no difference that could be healed; its events are refused as well."""
    try:
        facts = facts_of(deal)
    except ValueError:
        return False
    return all(abs(value) < 2**63 for value in facts if isinstance(value, int))
