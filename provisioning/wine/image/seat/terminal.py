"""Runs the terminal's program on a screen of its own, for as long as it lives: the container lives no longer."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

from provisioning.wine.image.seat import places
from provisioning.wine.image.seat.prefix import own_prefix, wine_environment
from provisioning.wine.image.seat.screen import offer
from provisioning.wine.image.seat.tested import differences
from provisioning.wine.tools import wine64

UNTESTED: Final = 78
"""Exit code when the image is not the tested one, or cannot be used."""
OUT_OF_MEMORY: Final = 79
_SCREEN_SECONDS: Final = 15.0
_ASK_SECONDS: Final = 0.5
_KILL_COUNTERS: Final = (
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
)


def run(*, show_screen: bool = False) -> int:
    """Gives the program's exit code, UNTESTED, or OUT_OF_MEMORY."""
    if found := differences():
        return _refuse(f"this image is not the tested set: {'; '.join(found)}")
    if not (places.PORTABLE / "terminal64.exe").exists():
        return _refuse("there is no terminal64.exe in the terminal's folder")
    own_prefix()
    screen = _start_screen()
    if screen is None:
        return _refuse("the screen has not started")
    if show_screen:
        _show_screen()
    code = _run_program()
    screen.kill()
    if code and _killed_for_memory():
        _say("the memory limit has ended the terminal")
        return OUT_OF_MEMORY
    _say(f"the terminal ended with code {code}")
    return code


def _run_program() -> int:
    wine, environment = wine64(), wine_environment()
    program = subprocess.Popen(  # noqa: S603 - the terminal's own program
        [wine, places.PROGRAM, "/portable", f"/config:{places.STARTUP}"],
        cwd=places.PORTABLE,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def close_windows() -> None:
        # WM_CLOSE, as from a user: the terminal saves its state and ends. Whoever asks has KILL for one that does not.
        # Again and again, since a terminal that is just starting has no window yet.
        while program.poll() is None:
            subprocess.run(  # noqa: S603
                [wine, "taskkill.exe", "/im", "terminal64.exe"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            time.sleep(_ASK_SECONDS)

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=close_windows, daemon=True).start())
    places.UP.touch()
    code = program.wait()
    return 128 - code if code < 0 else code


def _start_screen() -> subprocess.Popen[bytes] | None:
    screen = subprocess.Popen(  # noqa: S603
        ["/usr/bin/Xvfb", places.DISPLAY, "-screen", "0", "1280x800x24", "-nolisten", "tcp", "-noreset"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    socket = Path("/tmp/.X11-unix") / f"X{places.DISPLAY[1:]}"  # noqa: S108 - the container's own
    deadline = time.monotonic() + _SCREEN_SECONDS
    while not socket.exists():
        if screen.poll() is not None or time.monotonic() > deadline:
            screen.kill()
            return None
        time.sleep(0.02)
    return screen


def _show_screen() -> None:
    """A terminal whose screen nobody can see runs all the same."""
    try:
        offer(places.SCREEN)
    except OSError as error:
        _say(f"the screen cannot be shown: {error.strerror}")


def _killed_for_memory() -> bool:
    """Whether the kernel has ended something in this container for its memory limit (cgroups of version 2 or 1)."""
    for path in _KILL_COUNTERS:
        if path.exists():
            counters = dict(line.split() for line in path.read_text(encoding="ascii").splitlines())
            return int(counters.get("oom_kill", "0")) > 0
    return False


def _refuse(sentence: str) -> int:
    _say(sentence)
    return UNTESTED


def _say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()
