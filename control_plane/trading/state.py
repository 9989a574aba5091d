"""States of an order intent."""

from __future__ import annotations

from enum import StrEnum


class OrderKind(StrEnum):
    OPEN = "open"
    CLOSE = "close"
    OTHER = "other"


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class OrderState(StrEnum):
    PENDING = "pending"
    """Written down, not handed to the bridge."""
    SENT = "sent"
    """Handed to the bridge; the answer is not in yet."""
    UNKNOWN = "unknown"
    """The answer was lost; settled from what the broker did, never by sending again."""
    DONE = "done"
    REFUSED = "refused"
    NOT_EXECUTED = "not_executed"


SETTLED = frozenset({OrderState.DONE, OrderState.REFUSED, OrderState.NOT_EXECUTED})
UNSETTLED = frozenset(OrderState) - SETTLED

_ALLOWED: dict[OrderState, frozenset[OrderState]] = {
    OrderState.PENDING: frozenset(OrderState) - {OrderState.PENDING},
    OrderState.SENT: frozenset({OrderState.UNKNOWN}) | SETTLED,
    OrderState.UNKNOWN: SETTLED,
    OrderState.DONE: frozenset(),
    OrderState.REFUSED: frozenset(),
    OrderState.NOT_EXECUTED: frozenset(),
}


def may_become(present: OrderState, wanted: OrderState) -> bool:
    """A settled order never changes again; late and repeated news are simply not news."""
    return wanted in _ALLOWED[present]
