"""Adds up how long the calls of all terminals of the node took, as their bridge workers count it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final

from mt5_bridge.call_times import BOUNDS

_CLASSES: Final = len(BOUNDS) + 1


@dataclass(frozen=True)
class Times:
    """Counts of each class, and the seconds of all calls together."""

    counts: tuple[int, ...] = (0,) * _CLASSES
    seconds: float = 0.0


def since(before: Times | None, now: Times) -> Times:
    """What was added. A worker that counts less than before is a new one."""
    if before is None or any(new < old for new, old in zip(now.counts, before.counts, strict=True)):
        return now
    added = tuple(new - old for new, old in zip(now.counts, before.counts, strict=True))
    return Times(added, max(0.0, now.seconds - before.seconds))


def parse_times(told: Any) -> Times | None:
    """None for what an older worker does not tell, or what cannot be understood."""
    try:
        counts, seconds = tuple(int(each) for each in told["counts"]), float(told["seconds"])
    except (TypeError, KeyError, ValueError):
        return None
    return Times(counts, seconds) if len(counts) == _CLASSES and min(counts) >= 0 else None


class NodeCallTimes:
    """Told by the monitors' threads, read by the one that shows it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, Times] = {}
        self._total = Times()

    def tell(self, terminal_id: str, told: Any) -> None:
        """What the terminal's worker has counted since it was started."""
        now = parse_times(told)
        if now is None:
            return
        with self._lock:
            added = since(self._last.get(terminal_id), now)
            self._last[terminal_id] = now
            total = self._total
            counts = tuple(one + more for one, more in zip(total.counts, added.counts, strict=True))
            self._total = Times(counts, total.seconds + added.seconds)

    def forget(self, terminal_id: str) -> None:
        """The terminal has left this node; what it has added stays."""
        with self._lock:
            self._last.pop(terminal_id, None)

    @property
    def total(self) -> Times:
        with self._lock:
            return self._total
