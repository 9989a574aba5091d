"""How long a worker may still trade: a small file names the moment from which its permission is counted.

The clocks of a machine fail in different ways: the wall clock may be set back, the monotonic one stands still while a
virtual machine is paused. Whichever has run further decides, so that no single one of them can lengthen a lease. Both
may fail one after the other, so whoever looks again and again keeps what it has seen (`Readings`).
"""

from __future__ import annotations

import json
import math
import os
import secrets
import sys
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from mt5_bridge.replacing import put_in_place

_SIZE: Final = 256
_BOOT_FILE: Final = Path("/proc/sys/kernel/random/boot_id")
_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class Moment:
    """One reading of the machine's clocks."""

    boot: str
    """Which start of the machine; empty where the system tells no such thing."""
    elapsed: float
    """Seconds since that start, sleep included."""
    wall: float
    """Seconds since 1970, UTC, as far as the machine knows."""


@dataclass(frozen=True)
class Lease:
    """A permission that began at `since` and ends `seconds` later."""

    since: Moment
    seconds: float

    def left(self, now: Moment) -> float:
        """Seconds until the end; 0 or less when it is over, minus infinity after a restart of the machine."""
        return self.seconds - age(self.since, now)


@cache
def _boot_id() -> str:
    try:
        return _BOOT_FILE.read_text().strip()
    except OSError:
        return ""


def read_clocks() -> Moment:
    if sys.platform == "linux":
        elapsed = time.clock_gettime(time.CLOCK_BOOTTIME)
    else:
        elapsed = time.monotonic()  # on Windows it counts sleep as well
    return Moment(_boot_id(), elapsed, time.time())


def age(since: Moment, now: Moment) -> float:
    """Seconds from `since` to `now` by the clock that has run further; infinite when the machine was restarted."""
    wall = max(0.0, now.wall - since.wall)
    if since.boot != now.boot:
        # A reader under Wine knows no boot and has a clock of its own: the wall clock is all that it shares.
        return math.inf if since.boot and now.boot else wall
    elapsed = now.elapsed - since.elapsed
    return math.inf if elapsed < 0 else max(elapsed, wall)


class Readings:
    """Readings of the clocks for the age of one moment: a wall clock that is set back takes nothing from what was seen.

    For another moment it begins anew, since then the clocks may have been put right. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: Moment | None = None
        self._last: Moment | None = None

    def of(self, since: Moment, now: Moment) -> Moment:
        """`now`, its wall clock never behind the latest reading and what has passed since."""
        with self._lock:
            last = self._last if self._since == since else None
            if last is not None:
                passed = max(0.0, now.elapsed - last.elapsed)
                now = replace(now, wall=max(now.wall, last.wall + passed))
            self._since, self._last = since, now
            return now


def write_lease(path: Path, lease: Lease) -> None:
    """Write it over the old one in place, since that needs no room on a full disk. Raises OSError."""
    content = _pack(lease)
    try:
        descriptor = os.open(path, os.O_WRONLY)
    except FileNotFoundError:
        _create(path, content)
        return
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def _create(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
    put_in_place(temporary, path)


def _pack(lease: Lease) -> bytes:
    since = lease.since
    body = json.dumps([since.boot, round(since.elapsed, 3), round(since.wall, 3), lease.seconds])
    line = f"{zlib.crc32(body.encode()):08x} {body}"
    return line.ljust(_SIZE - 1).encode() + b"\n"


def read_lease(path: Path) -> Lease | None:
    """None when there is no file: then nothing limits the time. Raises ValueError for a broken one, OSError."""
    for _ in range(_ATTEMPTS):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return _parse(content)
        except ValueError as error:
            broken = error  # perhaps read in the middle of a write
    raise broken


def _parse(content: bytes) -> Lease:
    check, _, body = content.decode("ascii").partition(" ")
    body = body.strip()
    if check != f"{zlib.crc32(body.encode()):08x}":
        raise ValueError("the lease file is broken")
    boot, elapsed, wall, seconds = json.loads(body)
    return Lease(Moment(str(boot), float(elapsed), float(wall)), float(seconds))


class LeaseGuard:
    """Answers before each trade whether the lease is over. A file that cannot be read counts as over."""

    def __init__(self, path: Path, clocks: Callable[[], Moment] = read_clocks) -> None:
        self._path = path
        self._clocks = clocks
        self._readings = Readings()
        self._known: Lease | None = None
        self._first_seen = 0.0

    def over(self) -> bool:
        try:
            lease = read_lease(self._path)
        except (OSError, ValueError):
            return True
        if lease is None:
            return False
        now = self._readings.of(lease.since, self._clocks())
        if lease != self._known:
            self._known, self._first_seen = lease, now.elapsed
        # Our own clock is the second one where the writer's cannot be compared.
        return lease.left(now) <= 0 or now.elapsed - self._first_seen >= lease.seconds
