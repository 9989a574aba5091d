"""The official package in the Windows Python under Wine, for tests. Made once and kept in .cache/wine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provisioning.wine.prefix import environment, make_prefix, windows_path
from provisioning.wine.tools import COMPILER, program, run, wine64
from provisioning.wine.windows_python import make_windows_python

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".cache" / "wine"
HERE = Path(__file__).parent
RUN_SECONDS = 230.0


@dataclass(frozen=True)
class WindowsMachine:
    """A prefix with a Python in it."""

    wine: Path
    prefix: Path
    python: Path

    @classmethod
    def make(cls, report: Any) -> WindowsMachine:
        """Find or make it. Raises WineError where that cannot be done."""
        program(COMPILER)  # tests compile programs of their own
        return cls(wine64(), make_prefix(CACHE / "prefix", report), make_windows_python(CACHE / "python", report))

    @property
    def environment(self) -> dict[str, str]:
        """For a program in the prefix; the project is on its path and its clock is UTC."""
        return environment(self.prefix) | {"PYTHONPATH": windows_path(ROOT), "TZ": "UTC"}

    def command(self, *arguments: str) -> list[str]:
        """A command line of the Windows Python."""
        return [str(self.wine), str(self.python), *arguments]

    @property
    def backend_options(self) -> dict[str, Any]:
        """For the native backend, as a worker's configuration has them."""
        return {"command": self.command("-m", "mt5_bridge.native_host"), "environment": self.environment}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the Windows Python. Its standard streams are pipes: it does not start with files."""
        return subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | self.environment,
        )

    def run(self, *arguments: str, given: bytes = b"", seconds: float = RUN_SECONDS) -> tuple[int, bytes, str]:
        """Run the Windows Python to its end; gives exit code, standard output and standard error."""
        with self.start(*arguments) as process:
            try:
                output, errors = process.communicate(given, seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return process.returncode, output, errors.decode(errors="replace")

    def probe(self, questions: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Outcomes of expressions (and what to call before) with the official package, in one process while it lives.

        Thousands of odd calls sometimes bring it down later, at an innocent one, which is then asked again in another
        process; {"crashes": ...} is for one that kills a fresh process.
        """
        outcomes: list[dict[str, Any]] = []
        while len(outcomes) < len(questions):
            given = json.dumps(questions[len(outcomes) :]).encode()
            code, output, errors = self.run(windows_path(HERE / "probe.py"), given=given)
            found = [json.loads(line) for line in output.splitlines()]
            outcomes += found
            assert not code or "Unhandled page fault" in errors, errors
            if code and not found:
                outcomes.append({"crashes": "the process"})
        return outcomes


def windows_program(folder: Path, name: str, body: str) -> str:
    """Compile a program whose WinMain has this body; gives its Windows path. Raises WineError."""
    source = folder / f"{name}.c"
    source.write_text(
        f"#include <windows.h>\nint WINAPI WinMain(HINSTANCE a, HINSTANCE b, LPSTR c, int d) {{ {body} return 0; }}\n"
    )
    run(f"Compiling {name}", [program(COMPILER), "-mwindows", "-s", "-o", folder / name, source])
    return windows_path(folder / name)
