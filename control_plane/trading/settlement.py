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
"""How long a request is waited for that may still travel to the bridge after its link broke."""
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


def may_give_up(order: OpenOrder, journal_epoch: int, now: datetime) -> bool:
    """Whether an order that the bridge's journal does not know may be written into it as never to be sent.

    It must be the journal that the order was sent to. Only then is the order not executed for certain: a frame that was
    held up on its way, by a network or a machine that stood still, may come at any time. A journal that knew an order
    once and does not any more proves nothing.
    """
    sent_at = order.sent_at or order.created_at
    return order.placed_here and journal_epoch == order.epoch and now - sent_at >= _IN_FLIGHT


def judge(row: Mapping[str, Any] | None) -> Outcome | None:
    """What the bridge's journal says; None while it is still open."""
    if row is None:
        return None
    news = outcome.of_journal(row)
    return news if news.state in SETTLED else None


def asks_person(order: OpenOrder, now: datetime) -> bool:
    """Whether it has been open for so long that somebody should look at the broker."""
    return now - order.created_at >= _ASK_A_PERSON_AFTER


def still_open(order: OpenOrder, now: datetime) -> tuple[Outcome, datetime]:
    """What to show meanwhile, and when to look again. After a minute a person is told, and looks become rarer."""
    age = now - order.created_at
    shown = outcome.UNKNOWN
    if asks_person(order, now):
        shown = replace(shown, message=outcome.STILL_UNKNOWN_MESSAGE)
    return shown, now + (max(PATIENT, age / _RARER) if asks_person(order, now) else _EAGER)
