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
    memory_total: int
    memory_available: int
    disk_free: int


def read_resources(data: Path) -> Resources:
    """`disk_free` is of the disk that holds `data`."""
    memory = psutil.virtual_memory()
    return Resources(
        cpu_count=psutil.cpu_count() or 1,
        load_1m=psutil.getloadavg()[0],
        memory_total=memory.total,
        memory_available=memory.available,
        disk_free=shutil.disk_usage(data).free,
    )
