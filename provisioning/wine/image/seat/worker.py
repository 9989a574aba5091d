"""Starts the bridge worker, and for it the host process of the official package."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from provisioning.wine.image.seat import places
from provisioning.wine.image.seat.prefix import wine_environment
from provisioning.wine.tools import wine64

_HOST: Final = "mt5_bridge.native_host"


def run_worker() -> NoReturn:
    """Becomes the worker."""
    _end_old_hosts()
    os.execv(sys.executable, [sys.executable, "-m", "mt5_bridge.worker", "--config", str(places.WORKER_CONFIG)])  # noqa: S606


def run_host() -> NoReturn:
    """Becomes the Windows Python that runs the official package."""
    wine = str(wine64())
    os.execve(wine, [wine, str(places.WINDOWS_PYTHON / "python.exe"), "-m", _HOST], wine_environment())  # noqa: S606


def _end_old_hosts() -> None:
    # A worker that was killed while a call hung has left its host in that call, holding the link to the terminal.
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if _HOST.encode() in words:
                    os.kill(int(process.name), signal.SIGKILL)
