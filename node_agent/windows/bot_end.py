"""The end of a bot on Windows: of its job, and of what services of the system may have started for its user."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

from node_agent.windows import bot_room
from node_agent.windows.port import Windows

_END_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.02


def end_all(windows: Windows, room: Path) -> None:
    """End all that runs in a room, and its user. Blocks until it has, 5 s at most. Raises WindowsCallError."""
    user = bot_room.user_name(room)
    windows.terminate_job(bot_room.job_name(room))
    deadline = time.monotonic() + _END_SECONDS
    while left := windows.processes_of(user):
        for pid in left:
            if key := windows.key_of(pid):
                windows.terminate(key)
        if time.monotonic() > deadline:
            break
        time.sleep(_LOOK_SECONDS)
    windows.remove_user(user)


def any_length(path: Path) -> Path:
    """Windows reads no path of more than 260 characters in the usual way, and a bot can make longer ones."""
    return Path(f"\\\\?\\{path}") if sys.platform == "win32" else path
