"""States of a node, from how long it has been silent."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum


class NodeState(StrEnum):
    ONLINE = "online"
    SILENT = "silent"
    """Its lease ran out; its terminals probably keep running."""
    LOST = "lost"


def judge_silence(
    last_seen: datetime, listening_since: datetime, now: datetime, lease: timedelta, lost_after: timedelta
) -> NodeState:
    """Silence counts only while somebody listened: from the start of this control plane at the earliest."""
    silence = now - max(last_seen, listening_since)
    if silence > lost_after:
        return NodeState.LOST
    return NodeState.SILENT if silence > lease else NodeState.ONLINE
