"""States of a bot: what should be."""

from __future__ import annotations

from enum import StrEnum


class BotIntent(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    """It runs and may close what it holds, and opens nothing."""
    FINISHING = "finishing"
    """As paused, and stopped as soon as it holds nothing."""
    STOPPED = "stopped"


ALIVE = frozenset({BotIntent.RUNNING, BotIntent.PAUSED, BotIntent.FINISHING})
"""Those in which its process should be there."""

_ALLOWED: dict[BotIntent, frozenset[BotIntent]] = {
    BotIntent.STOPPED: frozenset({BotIntent.RUNNING}),
    BotIntent.RUNNING: frozenset({BotIntent.PAUSED, BotIntent.FINISHING, BotIntent.STOPPED}),
    BotIntent.PAUSED: frozenset({BotIntent.RUNNING, BotIntent.FINISHING, BotIntent.STOPPED}),
    BotIntent.FINISHING: frozenset({BotIntent.RUNNING, BotIntent.PAUSED, BotIntent.STOPPED}),
}


def may_become(present: BotIntent, wanted: BotIntent) -> bool:
    """Whether a bot of the first intent can be given the second. To stay as it is can always be wished."""
    return present == wanted or wanted in _ALLOWED[present]


def may_open(intent: BotIntent) -> bool:
    """Whether a bot of this intent may open positions."""
    return intent == BotIntent.RUNNING
