"""A terminal that never answers costs the worker process, which says so by its exit code."""

from __future__ import annotations

import subprocess
import sys

WEDGED = """
import threading
from mt5_bridge.executor import Executor
from mt5_bridge.worker import _die_wedged
executor = Executor(on_wedged=_die_wedged)
executor.start()
executor.run("symbol_info", 0.1, threading.Event().wait)
"""


def test_the_process_ends_with_70() -> None:
    done = subprocess.run([sys.executable, "-c", WEDGED], timeout=60, check=False)
    assert done.returncode == 70
