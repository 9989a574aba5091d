"""The same tests on Windows' own calls (under Wine's Windows Python) and, everywhere else, on their double."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node_agent.windows.port import Windows
from tests.conformance.windows.sign_in import on_wine

collect_ignore = ["test_under_wine.py", "test_agent_under_wine.py"] if sys.platform == "win32" else []
_STAND_IN = """#!{python}
import pathlib, configparser, os, signal, subprocess, sys, time
if sys.argv[1:2] == ["/exit"]:
    sys.exit(int(sys.argv[2]))
here = pathlib.Path.cwd()
if (here / "parent").exists():
    subprocess.Popen(["sleep", "600"])
signal.signal(signal.SIGTERM, lambda *_: (here / "deaf").exists() or sys.exit(0))
for argument in sys.argv[1:]:
    if argument.startswith("/config:"):
        ini = configparser.ConfigParser()
        ini.read(argument.removeprefix("/config:"))
        seen = ini["Common"]["Login"], ini["Experts"]["AllowLiveTrading"], str(os.getpid()), str(here)
        (here / "seen.tmp").write_text(" ".join(seen) + "\\n")
        (here / "seen.tmp").replace(here / "seen.txt")
while True:
    time.sleep(600)
"""


@dataclass(frozen=True)
class Stage:
    """Programs to start, and what this system keeps of what it is told."""

    folder: Path
    program: Path
    """terminal64.exe: shows a window, and exits with 0 when it is closed."""
    keeps_limits: bool
    """Wine takes a job's limits and keeps none."""

    def command(self, *arguments: str) -> tuple[str, ...]:
        return (str(self.program), *arguments)

    @property
    def windowless(self) -> tuple[str, ...]:
        """A program that waits and has no window."""
        return self.command("/wait") if sys.platform == "win32" else ("sleep", "600")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    program = tmp_path / "program" / "terminal64.exe"
    program.parent.mkdir()
    if sys.platform == "win32":
        shutil.copy(os.environ["MT5FARM_STAND_IN"], program)
    else:
        program.write_text(_STAND_IN.format(python=sys.executable))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return Stage(tmp_path, program, sys.platform != "win32" or not on_wine())


@pytest.fixture
def windows() -> Iterator[Windows]:
    if sys.platform == "win32":
        from node_agent.windows.calls import WindowsCalls

        yield WindowsCalls()
    else:
        from tests.windows_double import FakeWindows

        yield FakeWindows()
