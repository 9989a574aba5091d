"""The first program inside a sandbox: gives up what is left of its rights, then becomes the module it is told.

`python -m mt5_bridge.sandbox.enter START MODULE ARGUMENTS...`; START is a JSON object of limits and of the user to
become (None where it is that one already).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import runpy
import signal
import sys
from typing import Any, Final

_PR_SET_DUMPABLE: Final = 4
_ADDRESS_SPACE: Final = 3
"""Times the memory limit: libraries reserve much more than they use."""


def give_up(start: dict[str, Any]) -> None:
    """Become nobody, with limits that cannot be raised again. Raises OSError."""
    uid, limits = start["uid"], start["limits"]
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        # What changes its user may not look at its own /proc otherwise.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    for kind, most in (
        (resource.RLIMIT_AS, limits["memory"] * _ADDRESS_SPACE),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_FSIZE, limits["file_size"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    os.nice(5)
    # A file that gets too large is then an error that can be read.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def main(arguments: list[str]) -> None:
    """Never returns to the caller's rights. What the module raises passes through."""
    start, module, *rest = arguments
    give_up(json.loads(start))
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
