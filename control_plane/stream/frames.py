"""Server-sent events as text. Each has the position from which its reader can go on later."""

from __future__ import annotations

import json
import random

_RETRY_MILLISECONDS = (1000, 4000)


def opening() -> str:
    """When a browser opens a broken stream again: apart from each other, for a farm that was away has many to serve."""
    return f"retry: {random.randint(*_RETRY_MILLISECONDS)}\n\n"  # noqa: S311 - spreads browsers, guards nothing


def frame(event: str, position: str, data: str) -> str:
    """`data` is JSON on one line."""
    named = f"id: {position}\n" if position else ""
    return f"event: {event}\n{named}data: {data}\n\n"


def heartbeat(position: str, *, live: bool) -> str:
    """`live` is whether changes of other processes of the farm are heard."""
    return frame("heartbeat", position, json.dumps({"live": live}))


def reset(position: str) -> str:
    """What came before this position cannot be told any more."""
    return frame("reset", position, "{}")
