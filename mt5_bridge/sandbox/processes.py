"""What the processes of one sandbox are using, read from /proc."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True)
class Consumption:
    memory: int = 0
    """Bytes that are theirs alone, or shared memory."""
    count: int = 0
    cpu: float = 0.0
    """Seconds, those of ended children that were waited for included."""


def descendants(pid: int) -> list[int]:
    """All processes below this one, parents before children."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = list(_children(waiting.pop(0)))
        found += children
        waiting += children
    return found


def consumption(pids: list[int]) -> Consumption:
    """Of these processes together; those that have ended meanwhile count nothing."""
    memory, count, cpu = 0, 0, 0.0
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):
            memory += _memory(pid)
            cpu += _cpu(pid)
            count += 1
    return Consumption(memory, count, cpu)


def send(pids: list[int], number: signal.Signals) -> None:
    """To each that is still there."""
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, number)


def _children(pid: int) -> Iterator[int]:
    try:
        for thread in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                yield from map(int, (thread / "children").read_text().split())
    except OSError:
        return


def _memory(pid: int) -> int:
    total = 0
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:")):
            total += int(line.split()[1]) * 1024
    return total


def _cpu(pid: int) -> float:
    fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    return sum(int(each) for each in fields[11:15]) / _TICKS
