"""The seat shows the screen to each who connects, a few at a time, and shows it to nobody otherwise."""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.wine.image.seat import screen

_ECHO = "import sys; sys.stdout.write('shown'); sys.stdout.flush(); sys.stdin.read()"


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(screen, "_COMMAND", (sys.executable, "-c", _ECHO))
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as folder:
        yield Path(folder) / "s"


def look(door: Path) -> socket.socket:
    viewer = socket.socket(socket.AF_UNIX)
    viewer.settimeout(20)
    viewer.connect(str(door))
    return viewer


def test_a_few_may_look_at_a_time(door: Path) -> None:
    door.touch()  # of a container before this one
    screen.offer(door)
    looking = [look(door) for _ in range(screen.MOST)]
    try:
        assert [viewer.recv(5) for viewer in looking] == [b"shown"] * screen.MOST
        with look(door) as late:
            assert late.recv(5) == b"", "no more than that"
    finally:
        for viewer in looking:
            viewer.close()
    deadline = time.monotonic() + 20
    while not sees(door):
        assert time.monotonic() < deadline, "who has left makes room"
        time.sleep(0.02)


def sees(door: Path) -> bool:
    with look(door) as viewer:
        return viewer.recv(5) == b"shown"


def test_nothing_can_be_touched_and_no_command_be_run() -> None:
    for option in ("-viewonly", "-nosel", "-safer", "-nocmds", "-norc", "-inetd"):
        assert option in screen._COMMAND
