"""The bus of a farm that runs in one process, and the part of every bus that tells the listeners of one process."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice

from control_plane.bus.port import Batch, Change

MOST_KEPT = 10_000
"""Changes that a listener who comes back can be told of."""
_MOST_WAITING = 2000


class MemorySubscription:
    """Collects changes for one listener. One that sleeps too long is told to read everything anew."""

    def __init__(self, bus: MemoryBus, audience: str) -> None:
        self._bus = bus
        self.audience = audience
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        # All below is the bus's, under its lock.
        self.waiting: dict[Change, str] = {}
        self.gap = False
        self.closed = False

    async def next(self, timeout_seconds: float) -> Batch | None:
        try:
            async with asyncio.timeout(timeout_seconds):
                while not self._bus.has_news(self):
                    await self._wake.wait()
                    self._wake.clear()
        except TimeoutError:
            pass
        return self._bus.drain(self)

    def close(self) -> None:
        self._bus.forget(self)

    def add(self, position: str, change: Change) -> None:
        """Called by the bus, in the order of the positions."""
        self.waiting.pop(change, None)
        self.waiting[change] = position
        if len(self.waiting) > _MOST_WAITING:
            self.waiting.clear()
            self.gap = True

    def wake(self) -> None:
        """From any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)


class MemoryBus:
    """Keeps the newest changes, so that a listener who comes back misses nothing."""

    def __init__(self, most_kept: int = MOST_KEPT) -> None:
        self._lock = threading.Lock()
        self._life = secrets.token_hex(4)
        self._listeners: dict[str, list[MemorySubscription]] = {}
        self._kept: deque[tuple[str, Change | None]] = deque()
        self._most_kept = most_kept
        self._number = 0
        """Of the newest change."""
        self._numbers: dict[str, int] = {}
        """Of the kept changes, by their positions, and of the one before them."""
        self._before = self._head = f"{self._life}.0"
        self._numbers[self._before] = 0
        self._closed = False

    @property
    def problem(self) -> str:
        return ""

    def publish(self, change: Change) -> None:
        with self._lock:
            self._tell(f"{self._life}.{self._number + 1}", change)

    def tell(self, position: str, change: Change | None) -> None:
        """What was published elsewhere, in the order of the positions. None is only a position."""
        with self._lock:
            self._tell(position, change)

    def restart(self, before: str, kept: Sequence[tuple[str, Change | None]] = ()) -> None:
        """Nothing is known of what came before this position; all who listen have to read everything anew."""
        with self._lock:
            self._kept.clear()
            self._before = self._head = before
            self._numbers = {before: self._number}
            for each in self._everybody():
                each.waiting.clear()
                each.gap = True
                each.wake()
            for position, change in kept:
                self._tell(position, change)

    def subscribe(self, audience: str, after: str | None = None) -> MemorySubscription:
        subscription = MemorySubscription(self, audience)
        with self._lock:
            if after is not None and not self._replay(subscription, after):
                subscription.gap = True
            subscription.closed = self._closed
            self._listeners.setdefault(audience, []).append(subscription)
        return subscription

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for each in self._everybody():
                each.closed = True
                each.wake()

    def has_news(self, subscription: MemorySubscription) -> bool:
        with self._lock:
            return bool(subscription.waiting) or subscription.gap or subscription.closed

    def drain(self, subscription: MemorySubscription) -> Batch | None:
        with self._lock:
            if subscription.closed:
                return None
            changes = tuple((position, change) for change, position in subscription.waiting.items())
            found = Batch(changes, self._head, subscription.gap)
            subscription.waiting.clear()
            subscription.gap = False
            return found

    def forget(self, subscription: MemorySubscription) -> None:
        with self._lock:
            listeners = self._listeners.get(subscription.audience, [])
            if subscription in listeners:
                listeners.remove(subscription)
            if not listeners:
                self._listeners.pop(subscription.audience, None)

    def _tell(self, position: str, change: Change | None) -> None:
        self._number += 1
        self._head = position
        self._kept.append((position, change))
        self._numbers[position] = self._number
        if len(self._kept) > self._most_kept:
            self._numbers.pop(self._before, None)
            self._before = self._kept.popleft()[0]
        if change is not None:
            for each in self._listeners.get(change.audience, ()):
                each.add(position, change)
                each.wake()

    def _replay(self, subscription: MemorySubscription, after: str) -> bool:
        """False when what came after that position is not kept."""
        number = self._numbers.get(after)
        if number is None:
            return False
        passed = number - (self._number - len(self._kept))
        for position, change in islice(self._kept, passed, None):
            if change is not None and change.audience == subscription.audience:
                subscription.add(position, change)
        return True

    def _everybody(self) -> list[MemorySubscription]:
        return [each for listeners in self._listeners.values() for each in listeners]
