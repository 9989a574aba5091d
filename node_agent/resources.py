"""The machine as the agent sees it: for placement and for the operator's screen."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Resources:
    """Memory and disk in bytes."""

    cpu_count: int
    load_1m: float
    """0 where the system keeps no such figure."""
    memory_total: int
    memory_available: int
    disk_free: int


def read_resources(data: Path) -> Resources:
    """`disk_free` is of the disk that holds `data`."""
    memory = psutil.virtual_memory()
    return Resources(
        cpu_count=psutil.cpu_count() or 1,
        load_1m=_load(),
        memory_total=memory.total,
        memory_available=memory.available,
        disk_free=shutil.disk_usage(data).free,
    )


def _load() -> float:
    try:
        return psutil.getloadavg()[0]
    except (OSError, RuntimeError):  # Windows with its performance counters switched off
        return 0.0
