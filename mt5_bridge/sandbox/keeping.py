"""Keeping one sandboxed bot, whatever its sandbox is made of.

The process that does so stands between the bot and everything else: the bot's bridge, its log and its status pass
through it, and it ends the bot that takes more than its share. When it dies, however it dies, the kernel ends the bot.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from mt5_bridge.sandbox.availability import NoSandboxError
from mt5_bridge.sandbox.leavings import read_plain
from mt5_bridge.sandbox.limits import Bucket, Limits
from mt5_bridge.sandbox.relay import Relay
from mt5_bridge.sandbox.room import Room
from mt5_bridge.worker_config import ConfigError, load_object, required

FAILED: Final = 3
"""Exit code of what must not be started again with the same settings."""
_LOOK_SECONDS: Final = 0.1
_GRACE_SECONDS: Final = 1.3
_STATUS_BYTES: Final = 64 * 1024
_FILL_BYTES: Final = 1000
_TOLD_AGAIN_SECONDS: Final = 600.0


class BotLog:
    """The bot's log, one JSON object a line: as much of what it prints as its budget allows. Thread-safe."""

    def __init__(self, path: Path, rate: float, burst: float) -> None:
        self._path = path
        self._budget = Bucket(rate, burst, time.monotonic())
        self._rate = rate
        self._left_out = 0
        self._lock = threading.Lock()

    def printed(self, line: bytes) -> None:
        """A line of the bot's own, which may be a JSON object of level and text."""
        if not line:
            return
        with self._lock:
            if not self._budget.take(1, time.monotonic()):
                self._left_out += 1
                return
            self._own_up()
            self._write(*_entry(line))

    def say(self, level: str, text: str) -> None:
        """A line of the keeper's; always written."""
        with self._lock:
            self._own_up()
            self._write(level, text)

    def _own_up(self) -> None:
        count, self._left_out = self._left_out, 0
        if count:
            self._write("warning", f"{count} lines were left out: it prints more than {self._rate:g} lines a second.")

    def _write(self, level: str, text: str, fill: dict[str, Any] | None = None) -> None:
        entry = {"at": _now(), "level": level, "text": text[:2000]} | ({"fill": fill} if fill else {})
        line = json.dumps(entry, ensure_ascii=False)
        with self._path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(line + "\n")


class Kept(Protocol):
    """A sandbox, as its keeper sees it; `running.Sandbox` is that of Linux."""

    @property
    def slowed(self) -> bool:
        """It has been using all the processor time that it may have."""

    def start(self) -> None:
        """Raises NoSandboxError, OSError; then nothing runs."""

    def poll(self) -> int | None:
        """Its exit code once it has ended."""

    def look(self) -> str | None:
        """Why it has to be ended, or None."""

    def stop(self, grace: float) -> None:
        """Politely, where that can be done, for so many seconds. Blocks until nothing runs."""

    def kill(self) -> None:
        """At once, also what it has left behind. Blocks until nothing runs."""


class Keeper:
    """Of a sandbox that `sandbox` makes from a room and from what wants the lines that are printed there."""

    def __init__(
        self,
        config: dict[str, Any],
        sandbox: Callable[[Room, Callable[[bytes], None]], Kept],
        refused: Callable[[], str | None],
    ) -> None:
        """`refused` says why nothing may run here at all, or None. Raises ConfigError."""
        limits = replace(Limits(), **config.get("limits", {}))
        code = config.get("code")
        self._box = Path(required(config, "box", str))
        self._status = Path(required(config, "status_file", str))
        self._revision = required(config, "revision", int)
        self._relay = Relay(Path(required(config, "bridge", str)), Path(required(config, "worker", str)))
        self._log = BotLog(Path(required(config, "log_file", str)), limits.lines_rate, limits.lines_burst)
        room = Room(
            name=required(config, "bot_id", str),
            box=self._box,
            arguments=required(config, "arguments", list),
            limits=limits,
            code=None if code is None else Path(code),
            files={name: Path(path) for name, path in required(config, "files", dict).items()},
        )
        self._refused = refused
        self._sandbox = sandbox(room, self._log.printed)
        self._stop = threading.Event()
        self._seen: bytes | None = None

    def stop(self) -> None:
        """Safe to call from a signal handler."""
        self._stop.set()

    def run(self) -> int:
        """Until the bot ends or has to. Gives the exit code."""
        reason = self._refused()
        if reason is not None:
            return self._fail(reason)
        # What it said in an earlier life says nothing of this one.
        _remove(self._box / "status.json")
        self._relay.start()
        try:
            self._sandbox.start()
        except NoSandboxError as error:
            return self._fail(str(error))
        told = -_TOLD_AGAIN_SECONDS
        while not self._stop.wait(_LOOK_SECONDS):
            self._pass_status()
            code = self._sandbox.poll()
            if code is not None:
                self._sandbox.kill()
                return self._ended(code)
            too_much = self._sandbox.look()
            if too_much is not None:
                self._sandbox.kill()
                return self._fail(too_much)
            if self._sandbox.slowed and time.monotonic() - told > _TOLD_AGAIN_SECONDS:
                told = time.monotonic()
                self._log.say("warning", "It uses all the processor time that it may have, so it is slowed down.")
        self._sandbox.stop(_GRACE_SECONDS)
        return 0

    def _ended(self, code: int) -> int:
        self._pass_status()
        if code != FAILED:
            self._log.say("error", f"It ended by itself {_words(code)}.")
        return code

    def _fail(self, reason: str) -> int:
        self._log.say("error", reason)
        self._replace_status({"phase": "failed", "detail": reason, "at": _now(), "revision": self._revision})
        return FAILED

    def _pass_status(self) -> None:
        said = read_plain(self._box / "status.json", _STATUS_BYTES)
        if said is None or said == self._seen:
            return
        self._seen = said
        with suppress(ValueError, RecursionError, AttributeError):
            status = json.loads(said)
            known = {name: str(status.get(name, ""))[:2000] for name in ("phase", "detail", "at")}
            self._replace_status({**known, "revision": self._revision})

    def _replace_status(self, content: dict[str, Any]) -> None:
        draft = self._status.with_suffix(".new")
        draft.write_text(json.dumps(content), encoding="utf-8")
        draft.replace(self._status)


def _entry(line: bytes) -> tuple[str, str, dict[str, Any] | None]:
    """Level and text of a line, and what it says to have filled on paper; the agent judges whether that is a fill."""
    with suppress(ValueError, RecursionError, KeyError, TypeError):
        entry = json.loads(line)
        if isinstance(entry, dict):
            level = str(entry.get("level", "info"))
            fill = entry.get("fill")
            plain = fill if isinstance(fill, dict) and len(json.dumps(fill)) <= _FILL_BYTES else None
            return level if level in {"info", "warning", "error"} else "info", str(entry["text"]), plain
    return "info", line.decode("utf-8", "replace"), None


def _words(code: int) -> str:
    if code > 128:
        try:
            return f"by signal {signal.Signals(code - 128).name}"
        except ValueError:
            pass
    return f"with exit code {code}"


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def keep(keeper_of: Callable[[dict[str, Any]], Keeper], arguments: Sequence[str] | None) -> int:
    """A keeper's `main`. Exit code 0 after SIGTERM, 2 for a bad file, 3 if it must not be started again as it is."""
    parser = argparse.ArgumentParser(prog="mt5farm-bridge sandbox", description="Keep one bot in a sandbox.")
    parser.add_argument("--config", required=True, type=Path, help="JSON file, readable by this user alone")
    options = parser.parse_args(arguments)
    os.umask(0o077)
    try:
        keeper = keeper_of(load_object(options.config))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: keeper.stop())
        return keeper.run()
    except (ConfigError, TypeError, OSError) as error:
        sys.stderr.write(f"mt5farm-bridge sandbox: {error}\n")
        return 2
