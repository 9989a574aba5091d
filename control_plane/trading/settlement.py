"""What to do about an order whose outcome is open. Pure decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from control_plane.trading import outcome
from control_plane.trading.outcome import Outcome
from control_plane.trading.state import SETTLED, OrderState

FIRST_LOOK = timedelta(seconds=3)
FIRST_LOOK_AT_FOREIGN = timedelta(seconds=60)
"""The node tells by itself what became of an order of a bot or a script, unless it has been lost."""
_ABANDONED_AFTER = timedelta(seconds=30)
"""A pending order this old was never handed over: the request that wrote it down is gone."""
_IN_FLIGHT = timedelta(seconds=30)
"""How long a request may still travel to the bridge after its link broke."""
_ASK_A_PERSON_AFTER = timedelta(seconds=60)
PATIENT = timedelta(seconds=30)
_EAGER = timedelta(seconds=2)
_RARER = 20
"""What stayed open for a day is looked at once an hour or so: it must not keep newer orders waiting."""


@dataclass(frozen=True)
class OpenOrder:
    """What is known of it before anybody asks."""

    state: OrderState
    epoch: int
    created_at: datetime
    sent_at: datetime | None
    placed_here: bool = True
    """Otherwise it is known from the journal of the bridge that it was sent through."""


def abandoned(order: OpenOrder, now: datetime) -> bool:
    """Whether it was written down and certainly never sent. Must be claimed by the transition from pending."""
    return order.placed_here and order.state is OrderState.PENDING and now - order.created_at >= _ABANDONED_AFTER


def judge(order: OpenOrder, row: Mapping[str, Any] | None, journal_epoch: int, now: datetime) -> Outcome | None:
    """What the bridge's journal says; None while it is still open.

    A journal that does not know the order proves that nothing was sent only when it is the journal the order was sent
    to, and when nothing can still be on the way. One that knew it once and does not any more proves nothing.
    """
    if row is not None:
        news = outcome.of_journal(row)
        return news if news.state in SETTLED else None
    sent_at = order.sent_at or order.created_at
    if order.placed_here and journal_epoch == order.epoch and now - sent_at >= _IN_FLIGHT:
        return outcome.NOT_EXECUTED
    return None


def still_open(order: OpenOrder, now: datetime) -> tuple[Outcome, datetime]:
    """What to show meanwhile, and when to look again. After a minute a person is told, and looks become rarer."""
    age = now - order.created_at
    shown = outcome.UNKNOWN
    if age >= _ASK_A_PERSON_AFTER:
        shown = replace(shown, message=outcome.STILL_UNKNOWN_MESSAGE)
    return shown, now + (max(PATIENT, age / _RARER) if age >= _ASK_A_PERSON_AFTER else _EAGER)
