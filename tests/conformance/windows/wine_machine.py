"""The Windows Python with the agent's packages under Wine, with a screen and a prefix of its own; in .cache/wine."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from provisioning.wine.agent_python import make_agent_python
from provisioning.wine.prefix import environment, make_prefix, stop, windows_path
from provisioning.wine.tools import COMPILER, program, run, wine64
from provisioning.wine.windows_python import make_windows_python

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".cache" / "wine"
STAND_IN = Path(__file__).with_name("terminal64.c")
VERSION = Path(__file__).parent.parent / "runtimes" / "terminal64.rc"
_SCREEN_SECONDS = 20.0


def _progress(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


@dataclass(frozen=True)
class WineMachine:
    """A machine that looks like Windows."""

    prefix: Path
    python: Path
    display: str

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.prefix) | {"PYTHONPATH": windows_path(ROOT), "TZ": "UTC", "DISPLAY": self.display}

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start the Windows Python; its standard streams are pipes, for it does not start with files."""
        return subprocess.Popen(
            [str(wine64()), str(self.python), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | self.environment | variables,
            cwd=ROOT,
        )

    def run(self, *arguments: str, seconds: float, **variables: str) -> tuple[int, str]:
        """Run it to its end, and end what it has left behind: exit code and output. Raises TimeoutExpired."""
        with self.start(*arguments, **variables) as process:
            chunks: list[bytes] = []
            try:
                process.wait(seconds)
            finally:
                # What was started holds the pipe as well, so the output ends only with it.
                stop(self.prefix)
                assert process.stdout is not None
                chunks.append(process.stdout.read())
        return process.returncode, b"".join(chunks).decode(errors="replace")


@contextmanager
def wine_machine() -> Iterator[WineMachine]:
    """Find or make it. Raises WineError where that cannot be done."""
    program(COMPILER)
    base = make_windows_python(CACHE / "python", _progress).parent
    python = make_agent_python(CACHE / "agent", base, _progress)
    prefix = make_prefix(CACHE / "agent-prefix", _progress)
    with _alone(prefix):
        yield from _running(prefix, python)


@contextmanager
def _alone(prefix: Path) -> Iterator[None]:
    """Who ends a prefix ends everything in it, also what other tests run there at the same time."""
    with prefix.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _running(prefix: Path, python: Path) -> Iterator[WineMachine]:
    command = [str(program("Xvfb")), "-displayfd", "1", "-screen", "0", "320x240x8", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as screen:
        try:
            assert screen.stdout is not None
            ready, _, _ = select.select([screen.stdout], [], [], _SCREEN_SECONDS)
            assert ready, "Xvfb has not started"
            yield WineMachine(prefix, python, f":{int(screen.stdout.readline())}")
        finally:
            stop(prefix)
            screen.kill()


def compile_stand_in(folder: Path) -> Path:
    """terminal64.exe's stand-in. Raises WineError."""
    target, version = folder / "terminal64.exe", folder / "version.o"
    run("Compiling its version", [program("x86_64-w64-mingw32-windres"), VERSION, version])
    command: list[str | Path] = [
        program(COMPILER),
        "-O1",
        "-municode",
        "-mwindows",
        "-s",
        "-o",
        target,
        STAND_IN,
        version,
    ]
    run("Compiling terminal64.exe", command)
    return target
