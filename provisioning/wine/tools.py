"""The programs of the machine that the Wine recipes run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

Report = Callable[[str], None]
"""Takes one sentence of progress."""

WINE64: Final = (Path("/usr/lib/wine/wine64"), Path("/usr/lib/x86_64-linux-gnu/wine/wine64"))
"""The loader itself and not its wrapper script: a program started with it has the pid that the starter sees."""
COMPILER: Final = "x86_64-w64-mingw32-gcc"
DEBIAN_PACKAGES: Final = ("wine", "wine64", "gcc-mingw-w64-x86-64")


class WineError(Exception):
    """A step cannot be done on this machine. The message is one sentence that says what to do."""


def wine64() -> Path:
    """The 64-bit Wine loader. Raises WineError when Wine is not installed."""
    for path in WINE64:
        if path.exists():
            return path
    found = shutil.which("wine64")
    if found is None:
        raise WineError(f"Wine is not installed; on Debian: apt-get install {' '.join(DEBIAN_PACKAGES)}.")
    return Path(found)


def program(name: str) -> Path:
    """A program on PATH. Raises WineError when it is missing."""
    found = shutil.which(name)
    if found is None:
        raise WineError(f"{name} is not installed; on Debian: apt-get install {' '.join(DEBIAN_PACKAGES)}.")
    return Path(found)


def run(
    what: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None, seconds: float = 600.0
) -> str:
    """Run a command to its end and give its standard output. Raises WineError with its last line when it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - commands of this package only
            [str(part) for part in command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise WineError(f"{what} has not ended within {seconds:.0f} s.") from error
    except OSError as error:
        raise WineError(f"{what} cannot start: {error.strerror}.") from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise WineError(f"{what} failed: {lines[-1]}")
    return done.stdout
