"""What the agent tells the watchdog: until when, and which processes. Standard library only: the watchdog is small.

The file is replaced as a whole and not flushed to the disk: after a restart of the machine the lease is over anyway.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mt5_bridge.lease import Lease, Moment
from mt5_bridge.replacing import put_in_place

VERSION: Final = 1
FENCE_FILE: Final = "fence.json"
LEASE_FILE: Final = "fence.lease"
"""The newest lease alone, written in place: on a full disk the fence file cannot be replaced."""
BEAT_FILE: Final = "watchdog.beat"
UNREAD: Final = -1


@dataclass(frozen=True)
class Ward:
    """A terminal that must not outlive the lease."""

    epoch: int
    root: str
    """Its folder; every plain process of the terminal has it in its command line."""
    handles: tuple[Mapping[str, Any], ...]
    """As `node_agent.handles` writes them."""


def are_covered(wards: Mapping[str, Ward], told: Mapping[str, Ward]) -> bool:
    """Whether who knows `told` would kill all that runs of `wards`."""
    return all(
        terminal_id in told
        and told[terminal_id].root == ward.root
        and all(handle in told[terminal_id].handles for handle in ward.handles)
        for terminal_id, ward in wards.items()
        if ward.handles
    )


@dataclass(frozen=True)
class Fence:
    """One fence file."""

    sequence: int
    """Rises with each writing."""
    lease: Lease | None
    """Spans `fence_seconds`; None means that nothing may run."""
    wards: Mapping[str, Ward]
    """By terminal id."""


def write_fence(path: Path, fence: Fence) -> None:
    """Raises OSError, then the old file is still in place."""
    lease = fence.lease
    body = {
        "v": VERSION,
        "sequence": fence.sequence,
        "lease": lease and [lease.since.boot, lease.since.elapsed, lease.since.wall, lease.seconds],
        "terminals": {
            terminal_id: {
                "policy": "self_fence",
                "epoch": ward.epoch,
                "root": ward.root,
                "handles": [dict(each) for each in ward.handles],
            }
            for terminal_id, ward in fence.wards.items()
        },
    }
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(body))
        put_in_place(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_fence(path: Path) -> Fence | None:
    """None when there is none. Raises OSError, ValueError for what is no fence file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return parse_fence(content)


def parse_fence(content: bytes) -> Fence:
    """Raises ValueError for what is no fence file."""
    body = json.loads(content)
    try:
        lease = body["lease"]
        wards = {
            str(terminal_id): Ward(int(entry["epoch"]), str(entry["root"]), tuple(entry["handles"]))
            for terminal_id, entry in body["terminals"].items()
        }
        return Fence(int(body["sequence"]), None if lease is None else _lease(*lease), wards)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a fence file") from error


def _lease(boot: str, elapsed: float, wall: float, seconds: float) -> Lease:
    return Lease(Moment(str(boot), float(elapsed), float(wall)), float(seconds))


@dataclass(frozen=True)
class Beat:
    """A sign of life of the watchdog."""

    pid: int
    sequence: int
    """Of the fence file that it goes by; UNREAD while there is none."""
    elapsed: float
    """When, by `Moment.elapsed`."""


def write_beat(path: Path, beat: Beat) -> None:
    """Over the old one in place: it comes every second, and needs no room on a full disk. Raises OSError."""
    line = f"{beat.pid} {beat.sequence} {beat.elapsed:.3f}".ljust(80) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def read_beat(path: Path) -> Beat | None:
    """None when there is none that makes sense."""
    try:
        pid, sequence, elapsed = path.read_text().split()
        return Beat(int(pid), int(sequence), float(elapsed))
    except (OSError, ValueError):
        return None
