"""Shows the terminal's screen on a socket: an x11vnc for each who looks, and none while nobody does.

Who may look is the business of the node's gateway, which alone reaches the socket. Looking is all they can do: input,
clipboard and commands are off, since what is typed into a terminal would pass by the guard and the order journal.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from provisioning.wine.image.seat import places

MOST: Final = 4
"""Who may look at a time; the gateway lets fewer through."""
_COMMAND: Final = (
    *("/usr/bin/nice", "-n", "10", "/usr/bin/x11vnc", "-inetd", "-quiet", "-norc"),
    *("-viewonly", "-nosel", "-safer", "-nocmds", "-noxrecord", "-nobell", "-nolookup", "-nopw", "-shared"),
)
_FIRST_TO_END: Final = "1000"


def offer(path: Path) -> None:
    """Listen there, from a thread of its own, until this process ends. Raises OSError."""
    path.unlink(missing_ok=True)  # of a container before this one
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(MOST)
    threading.Thread(target=_serve, args=(listener,), name="screen", daemon=True).start()


def _serve(listener: socket.socket) -> None:
    looking: list[subprocess.Popen[bytes]] = []
    while True:
        viewer, _ = listener.accept()
        with viewer, suppress(OSError):  # no more processes, most likely: this one sees nothing, the next may
            looking = [each for each in looking if each.poll() is None]
            if len(looking) < MOST:
                looking.append(_show_to(viewer))


def _show_to(viewer: socket.socket) -> subprocess.Popen[bytes]:
    shown = subprocess.Popen(  # noqa: S603
        _COMMAND,
        env={**os.environ, "DISPLAY": places.DISPLAY, "HOME": "/tmp"},  # noqa: S108 - the container's own
        stdin=viewer.fileno(),
        stdout=viewer.fileno(),
        stderr=subprocess.DEVNULL,
    )
    # Should the memory of the container run short, looking ends and not the terminal.
    with suppress(OSError):
        Path(f"/proc/{shown.pid}/oom_score_adj").write_text(_FIRST_TO_END, encoding="ascii")
    return shown
