"""A look at brought code from outside: what it declares, found out by importing it in a sandbox."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mt5_bridge.sandbox.availability import NoSandboxError, why_not
from mt5_bridge.sandbox.leavings import read_plain
from mt5_bridge.sandbox.limits import DRY_RUN
from mt5_bridge.sandbox.package import Package, unpack
from mt5_bridge.sandbox.room import BOX, CODE, Room
from mt5_bridge.sandbox.running import Sandbox

_RESULT: Final = "result.json"
_RESULT_BYTES: Final = 256 * 1024
_LOOK_SECONDS: Final = 0.05
_LINES: Final = 40


@dataclass(frozen=True)
class Finding:
    """`declared` is what the code says of itself, None when it cannot be used; nothing of it is to be trusted."""

    declared: dict[str, Any] | None
    code: str = ""
    message: str = ""
    file: str = ""
    line: int = 0
    printed: tuple[str, ...] = ()


def inspect_package(package: Package) -> Finding:
    """Blocks until it has been looked at, a quarter of a minute at most. Raises NoSandboxError, OSError."""
    reason = why_not()
    if reason is not None:
        raise NoSandboxError(reason)
    with tempfile.TemporaryDirectory(prefix="m5look") as place:
        folder = Path(place)
        folder.chmod(0o700)
        code, box = folder / "code", folder / "box"
        unpack(package.packed(), code)
        box.mkdir(mode=0o700)
        printed: list[str] = []
        arguments = ["mt5_bridge.strategies.brought", CODE, package.entry, f"{BOX}/{_RESULT}"]
        room = Room(f"look_{secrets.token_hex(8)}", box, arguments, DRY_RUN, code)
        problem = _run(room, printed)
        said = read_plain(box / _RESULT, _RESULT_BYTES)
        if os.geteuid() == 0:
            os.chown(box, 0, 0)
    return _finding(said, problem, tuple(printed))


def _run(room: Room, printed: list[str]) -> str | None:
    def tell(line: bytes) -> None:
        if len(printed) < _LINES:
            printed.append(line.decode("utf-8", "replace"))

    sandbox = Sandbox(room, tell)
    sandbox.start()
    try:
        while sandbox.poll() is None:
            too_much = sandbox.look()
            if too_much is not None:
                return too_much
            time.sleep(_LOOK_SECONDS)
        return None
    finally:
        sandbox.kill()


def _finding(said: bytes | None, problem: str | None, printed: tuple[str, ...]) -> Finding:
    if problem is not None:
        return Finding(None, "too_much", f"While it was imported: {problem}", printed=printed)
    try:
        result = json.loads(said or b"")
        if result["ok"] is True:
            return Finding(result, printed=printed)
        return Finding(
            None,
            str(result["code"])[:40],
            str(result["message"])[:1000],
            str(result["file"])[:200],
            int(result["line"]),
            printed,
        )
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        last = f" Its last words: {printed[-1][:300]}" if printed else ""
        return Finding(None, "ended_early", f"It ended while it was imported.{last}", printed=printed)
