"""Tells at once that a process has ended, instead of at the next look. Linux; elsewhere the looks must do."""

from __future__ import annotations

import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Deaths:
    """`tell` is called from a thread of its own, once for each descriptor of a process (pidfd) that has ended."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._epoll: Any = select.epoll() if hasattr(select, "epoll") else None
        if self._epoll is not None:
            # A daemon: it waits for as long as the agent lives.
            threading.Thread(target=self._wait, name="deaths", daemon=True).start()

    def add(self, descriptor: int) -> None:
        """It leaves by itself when it is closed."""
        if sys.platform != "win32" and self._epoll is not None:
            with suppress(OSError):
                self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLONESHOT)

    def _wait(self) -> None:
        while True:
            if self._epoll.poll():
                self._tell()
