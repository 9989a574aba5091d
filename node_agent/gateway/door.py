"""How many connections may be in their handshake at once: in all, and from one address.

Until its ticket is redeemed a connection is a stranger that costs a thread and the arithmetic of TLS. One address that
opens many and says nothing must not keep the others out.
"""

from __future__ import annotations

import threading
from collections import Counter


class Door:
    """From any thread."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._inside: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, address: str) -> bool:
        """Take a place for a stranger; `leave` gives it back. False when there is none."""
        with self._lock:
            if self._inside.total() >= self._most or self._inside[address] >= self._most_of_one:
                return False
            self._inside[address] += 1
            return True

    def leave(self, address: str) -> None:
        with self._lock:
            self._inside[address] -= 1
            if self._inside[address] <= 0:
                del self._inside[address]
