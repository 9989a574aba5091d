"""A simulated broker as a process of its own, for as long as a test needs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mt5_bridge.simulated.admin import BrokerAdmin


@contextmanager
def running_broker(speed: int) -> Iterator[tuple[str, BrokerAdmin]]:
    """Its address and its administration; the market runs `speed` times as fast as life."""
    folder = Path(tempfile.mkdtemp(prefix="m5", dir="/tmp"))
    command = [sys.executable, "-m", "mt5_bridge.simulated.server", "--data", str(folder), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen([*command, "--speed", str(speed), "--seed", "7"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    yield ready["address"], BrokerAdmin(ready["address"], (folder / "admin.token").read_text().strip())
    process.terminate()
    process.wait(10)
    process.stdout.close()
    shutil.rmtree(folder)
