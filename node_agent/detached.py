"""Starting a process that outlives its starter. Needs the standard library alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def start_detached(
    command: Sequence[str],
    environment: Mapping[str, str],
    output: int,
    folder: Path | None = None,
    windows_flags: int = 0,
) -> subprocess.Popen[bytes]:
    """Start without a terminal of its own; both output streams go to `output`, a descriptor. Raises OSError."""
    if sys.platform == "win32":
        return _start_on_windows(command, environment, output, folder, windows_flags)
    else:  # noqa: RET505 - else the type checker sees one system's code only
        return subprocess.Popen(  # noqa: S603 - commands of the farm with paths that it made
            list(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            start_new_session=True,
        )


if sys.platform == "win32":

    def _start_on_windows(
        command: Sequence[str], environment: Mapping[str, str], output: int, folder: Path | None, flags: int
    ) -> subprocess.Popen[bytes]:
        flags |= subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        # Out of the starter's own job where that allows it: a service wrapper may end its job when the agent ends.
        for breakaway in (subprocess.CREATE_BREAKAWAY_FROM_JOB, 0):
            try:
                return subprocess.Popen(  # noqa: S603 - as above
                    list(command),
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=dict(environment),
                    creationflags=flags | breakaway,
                )
            except PermissionError:
                if not breakaway:
                    raise
        raise AssertionError("the last attempt returns or raises")
