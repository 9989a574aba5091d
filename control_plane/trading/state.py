"""States of an order intent, and of a difference between the trade log and the broker's book."""

from __future__ import annotations

from enum import StrEnum


class OrderKind(StrEnum):
    """What a row wishes. Each wish is a row of its own, also those that only change or remove something."""

    OPEN = "open"
    PENDING = "pending"
    MODIFY = "modify"
    """Of a position's stops, or of a pending order."""
    CANCEL = "cancel"
    CLOSE = "close"
    CLOSE_BY = "close_by"
    OTHER = "other"


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"


class Expiration(StrEnum):
    """How long a pending order waits (`ORDER_TIME_*`)."""

    GTC = "gtc"
    DAY = "day"
    SPECIFIED = "specified"
    SPECIFIED_DAY = "specified_day"


class Which(StrEnum):
    """Which positions to close; by their present profit without swap and commission."""

    ALL = "all"
    PROFITABLE = "profitable"
    LOSING = "losing"


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


class Subject(StrEnum):
    """What differs."""

    DEAL = "deal"
    ORDER = "order"
    BALANCE = "balance"


class DifferenceKind(StrEnum):
    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    EDITED = "edited"
    DOUBLED = "doubled"
    """The broker's answer held a ticket more than once."""
    UNBALANCED = "unbalanced"
    """The balance is not the sum of the broker's own deals."""


class DifferenceState(StrEnum):
    OPEN = "open"
    HEALED = "healed"
    """The log holds what the broker says now."""
    GONE = "gone"
    """A later comparison did not see it any more."""


_DIFFERENCE_MAY_BECOME: dict[DifferenceState, frozenset[DifferenceState]] = {
    DifferenceState.OPEN: frozenset({DifferenceState.GONE}),
    DifferenceState.HEALED: frozenset(),
    DifferenceState.GONE: frozenset({DifferenceState.OPEN}),
}


def difference_may_become(present: DifferenceState, wanted: DifferenceState) -> bool:
    """What was healed was written down; what has gone may come back."""
    return wanted in _DIFFERENCE_MAY_BECOME[present]
