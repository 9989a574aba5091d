"""Waits for sockets by their descriptors: the kernel's own epoll, without the wrapper that asks it for each call."""

from __future__ import annotations

import selectors
import sys

if sys.platform == "linux":
    import select

    READ, WRITE = select.EPOLLIN, select.EPOLLOUT
    Readiness = select.epoll
else:
    READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

    class Readiness:
        """What select.epoll does, elsewhere."""

        def __init__(self) -> None:
            self._selector = selectors.DefaultSelector()
            self.register = self._selector.register
            self.modify = self._selector.modify
            self.unregister = self._selector.unregister
            self.close = self._selector.close

        def poll(self, timeout: float | None, _: int) -> list[tuple[int, int]]:
            """Descriptors that are ready and for what; waits `timeout` seconds, without end for None."""
            return [(key.fd, events) for key, events in self._selector.select(timeout)]
