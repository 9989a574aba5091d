"""Ports for programs that must be told theirs before they start."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

_FIRST, _LAST = 10_000, 32_000
"""Below the ports that the system gives to connections by itself: none is taken between the look and the use."""


def free_ports(number: int) -> int:
    """First of some consecutive ports that are free now. Raises RuntimeError when there are none."""
    for first in _candidates(number):
        if all(_free(first + offset) for offset in range(number)):
            return first
    raise RuntimeError("no free ports")


def _candidates(number: int) -> Iterator[int]:
    # Not the process's own random numbers: tests that run side by side may have seeded them alike.
    start = random.SystemRandom().randrange(_FIRST, _LAST)
    yield from range(start, _LAST - number)
    yield from range(_FIRST, start)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
