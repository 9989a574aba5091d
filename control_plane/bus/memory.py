"""The bus of a farm that runs in one process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from control_plane.bus.port import Change

_MOST_WAITING = 2000


class MemorySubscription:
    """Collects changes for one listener. A listener that sleeps too long loses the oldest."""

    def __init__(self, accepts: Callable[[Change], bool], forget: Callable[[MemorySubscription], None]) -> None:
        self._accepts = accepts
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Change, None] = {}
        self._wake = asyncio.Event()
        self._closed = False

    async def next(self, timeout_seconds: float) -> list[Change] | None:
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._wake.wait()
        except TimeoutError:
            return []
        if self._closed:
            return None
        self._wake.clear()
        changes = list(self._waiting)
        self._waiting.clear()
        return changes

    def close(self) -> None:
        self._forget(self)

    def offer(self, change: Change) -> None:
        """Called by the bus, from any thread."""
        if self._accepts(change):
            self._in_loop(self._add, change)

    def end(self) -> None:
        """Called by the bus when it closes."""
        self._in_loop(self._end)

    def _in_loop(self, step: Callable[..., None], *arguments: Change) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(step, *arguments)

    def _add(self, change: Change) -> None:
        self._waiting[change] = None
        while len(self._waiting) > _MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._wake.set()

    def _end(self) -> None:
        self._closed = True
        self._wake.set()


class MemoryBus:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: dict[MemorySubscription, None] = {}  # told in the order in which they came
        self._closed = False

    def publish(self, change: Change) -> None:
        with self._lock:
            listeners = list(self._subscriptions)
        for listener in listeners:
            listener.offer(change)

    def subscribe(self, accepts: Callable[[Change], bool]) -> MemorySubscription:
        subscription = MemorySubscription(accepts, self._forget)
        with self._lock:
            self._subscriptions[subscription] = None
            closed = self._closed
        if closed:
            subscription.end()
        return subscription

    def end_present(self) -> None:
        """End the listening of all who listen now; whoever comes later is served as before."""
        with self._lock:
            listeners = list(self._subscriptions)
        for listener in listeners:
            listener.end()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self.end_present()

    def _forget(self, subscription: MemorySubscription) -> None:
        with self._lock:
            self._subscriptions.pop(subscription, None)
