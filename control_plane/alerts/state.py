"""What can be told, where, and how loudly."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class AlertEvent(StrEnum):
    TERMINAL_STALE = "terminal_stale"
    """A terminal that should run has not answered for a while."""
    LOGIN_REFUSED = "login_refused"
    ORDER_UNKNOWN = "order_unknown"
    """Nobody knows what became of an order."""
    GUARD_HIT = "guard_hit"
    """The limits of an account refused an order."""
    BOT_STOPPED = "bot_stopped"
    """A bot that should run does not."""
    DRAWDOWN = "drawdown"
    MARGIN_LEVEL = "margin_level"
    THRESHOLD = "threshold"
    """A limit that the user has set for one account."""
    DAILY_REPORT = "daily_report"
    ACCOUNT_MOVED = "account_moved"
    NEW_SIGN_IN = "new_sign_in"
    COPYING_STOPPED = "copying_stopped"
    WEBHOOK_DISABLED = "webhook_disabled"


class Channel(StrEnum):
    PORTAL = "portal"
    EMAIL = "email"
    WEBHOOK = "webhook"
    TELEGRAM = "telegram"


class Mode(StrEnum):
    ON = "on"
    SILENT = "silent"
    """In the portal without being counted as unread, by mail in the digest, by Telegram without a sound; a webhook is
    told that it is silent."""
    OFF = "off"


class Digest(StrEnum):
    """How often what is silent by mail is sent together."""

    HOURLY = "hourly"
    DAILY = "daily"


class Part(StrEnum):
    """What a delivery tells of a notice."""

    RAISED = "raised"
    RESOLVED = "resolved"
    TEST = "test"


class DeliveryState(StrEnum):
    PENDING = "pending"
    DIGEST = "digest"
    """Waits for the next digest."""
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up; it can be sent again by hand."""


class EndpointState(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"


class ThresholdKind(StrEnum):
    PRICE_ABOVE = "price_above"
    PRICE_BELOW = "price_below"
    EQUITY_ABOVE = "equity_above"
    EQUITY_BELOW = "equity_below"
    MARGIN_LEVEL_BELOW = "margin_level_below"
    """In per cent."""
    DRAWDOWN_ABOVE = "drawdown_above"
    """Per cent below the highest equity known."""


URGENT = frozenset(
    {
        AlertEvent.TERMINAL_STALE,
        AlertEvent.LOGIN_REFUSED,
        AlertEvent.ORDER_UNKNOWN,
        AlertEvent.DRAWDOWN,
        AlertEvent.MARGIN_LEVEL,
        AlertEvent.NEW_SIGN_IN,
        AlertEvent.COPYING_STOPPED,
    }
)
"""Told in quiet hours as well."""

ESSENTIAL = frozenset({AlertEvent.NEW_SIGN_IN, AlertEvent.WEBHOOK_DISABLED})
"""About the safety of the user's own access; their mails have no link to unsubscribe."""

_QUIET_BY_DEFAULT = frozenset({AlertEvent.DAILY_REPORT, AlertEvent.ACCOUNT_MOVED, AlertEvent.GUARD_HIT})
_ALLOWED: Mapping[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.PENDING: frozenset({DeliveryState.DELIVERED, DeliveryState.DEAD}),
    DeliveryState.DIGEST: frozenset({DeliveryState.DELIVERED, DeliveryState.DEAD}),
    DeliveryState.DELIVERED: frozenset(),
    DeliveryState.DEAD: frozenset(),
}


def default_mode(event: AlertEvent, channel: Channel) -> Mode:
    if channel is Channel.EMAIL and event in _QUIET_BY_DEFAULT:
        return Mode.SILENT
    return Mode.ON


def may_become(present: DeliveryState, wanted: DeliveryState) -> bool:
    return wanted in _ALLOWED[present]
