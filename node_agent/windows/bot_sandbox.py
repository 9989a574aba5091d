"""The sandbox of one bot on Windows: a user, a token, a job and a rule of the firewall, from its start to its end.

What Windows says that it has done is not believed: the first program in the room (`bot_entry`) tries the way out, and
the bot's code is loaded only when nothing was found.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import mt5_bridge
from mt5_bridge.sandbox.availability import NoSandboxError
from mt5_bridge.sandbox.leavings import LINE_BYTES, clear_folder, folder_size, tell_lines
from mt5_bridge.sandbox.limits import Bucket, Usage, excess
from mt5_bridge.sandbox.room import Room
from node_agent.windows import bot_room
from node_agent.windows.bot_end import any_length, end_all
from node_agent.windows.bot_entry import HELD
from node_agent.windows.isolation import new_password
from node_agent.windows.port import Confined, Program, Windows, WindowsCallError

_ENTRY: Final = "node_agent.windows.bot_entry"
_NOBODY: Final = ("192.0.2.1", 9)
"""An address that documentation alone uses: a trial that is not refused reaches nobody."""
_WORD_SECONDS: Final = 30.0
_END_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.02
_FOLDER_EVERY: Final = 5
_FIREWALL_EVERY: Final = 300
"""Looks at its job for one at its files and its user, and for one at the firewall."""
_HELP: Final = "its operator finds what a Windows node needs for it in docs/windows.md"


class WindowsSandbox:
    """Implements `keeping.Kept`. The room's folder around its box is the bot's own (`layout.RoomLayout`)."""

    def __init__(self, room: Room, tell: Callable[[bytes], None], windows: Windows) -> None:
        self._room = room
        self._tell = tell
        self._windows = windows
        self._root = room.box.parent
        self._job = bot_room.job_name(self._root)
        self._user = bot_room.user_name(self._root)
        self._running: Confined | None = None
        self._reader: threading.Thread | None = None
        self._looks = 0
        self._folder = (0, 0)
        self._cpu_seen = 0.0
        self._started = 0.0
        self._budget = Bucket(1.0, 1.0, 0.0)
        self._held_down = False
        self.slowed = False

    def start(self) -> None:
        """Raises NoSandboxError; then nothing runs, and none of the bot's code has."""
        try:
            self._launch()
        except WindowsCallError as error:
            self.kill()
            raise NoSandboxError(
                f"Custom code runs in a sandbox, which this node cannot make: {error}; {_HELP}."
            ) from error
        except BaseException:
            self.kill()
            raise

    def _launch(self) -> None:
        # What an earlier keeper may have left would be taken for the new one's.
        end_all(self._windows, self._root)
        if not self._windows.filters_network():
            raise NoSandboxError(
                "Custom code runs in a sandbox, which needs the firewall of Windows; it is off on this node, or group"
                " policy overrides its rules. Its operator can switch it on for all networks."
            )
        self._windows.block_network(bot_room.RULE, bot_room.GROUP)
        password = new_password()
        sid, owner = self._windows.ensure_user(self._user, password, (bot_room.GROUP,)), self._windows.own_sid()
        for folder in (self._root / "shown", self._root / "code"):
            self._windows.set_rights(folder, bot_room.shown_rights(owner, sid))
        self._windows.set_rights(self._room.box, bot_room.box_rights(owner, sid))
        self._hold_down(False)
        self._running = self._windows.launch_confined(self._program(), self._job, self._user, password)
        limits = self._room.limits
        self._started = time.monotonic()
        self._budget = Bucket(limits.cpu_share, limits.cpu_burst, self._started)
        self._await_word(self._running.output)
        self._reader = threading.Thread(target=self._read, args=(self._running.output,), name="output", daemon=True)
        self._reader.start()

    def _program(self) -> Program:
        closed = {"what is its keeper's": str(self._root / "keeper.json")}
        fixed = {
            "its code": str(self._root / "code"),
            "its configuration": str(self._root / "shown"),
            "what all users of the machine share": os.environ.get("PROGRAMDATA", "C:\\ProgramData"),
        }
        start = json.dumps({"closed": closed, "fixed": fixed, "address": _NOBODY})
        # -P: the box, which the bot has written to, is no place to import our own modules from.
        command = (sys.executable, "-P", "-s", "-m", _ENTRY, start, *self._room.arguments)
        windows, library = os.environ.get("SYSTEMROOT", "C:\\Windows"), Path(mt5_bridge.__path__[0]).parent
        return Program(command, self._room.box, None, bot_room.environment(windows, self._room.box, library))

    def _await_word(self, output: IO[bytes]) -> None:
        """Raises NoSandboxError unless the first program says that the room holds."""
        late = threading.Timer(_WORD_SECONDS, self._windows.terminate_job, (self._job,))
        late.daemon = True
        late.start()
        try:
            said = output.readline(LINE_BYTES).decode("utf-8", "replace").strip()
        finally:
            late.cancel()
        if said != HELD:
            why = said or "it does not start"
            raise NoSandboxError(f"Custom code runs in a sandbox, which does not hold on this node: {why}; {_HELP}.")

    def _read(self, output: IO[bytes]) -> None:
        with output:
            tell_lines(output, self._room.limits.output_rate, self._tell)

    def poll(self) -> int | None:
        """Its exit code once it has ended."""
        assert self._running is not None
        return self._windows.exit_code(self._running.key)

    def look(self) -> str | None:
        """Why it has to be ended, or None; slows down what takes too much of the processor."""
        try:
            return self._look()
        except WindowsCallError as error:
            return f"It can no longer be watched ({error}), so it was ended."

    def _look(self) -> str | None:
        stats = self._windows.job_stats(self._job)
        if stats is None:
            return None
        now, limits = time.monotonic(), self._room.limits
        if self._looks % _FOLDER_EVERY == 0:
            self._folder = self._box_size()
            # Services of the system start programs for whoever asks, outside of the asker's job.
            if set(self._windows.processes_of(self._user)) - set(stats.processes):
                return "It had a program started outside of its sandbox, so it was ended."
        self._looks += 1
        if self._looks % _FIREWALL_EVERY == 0 and not self._windows.filters_network():
            return "The firewall of its node was switched off, so it was ended."
        used, self._cpu_seen = max(0.0, stats.cpu_seconds - self._cpu_seen), stats.cpu_seconds
        over = not self._budget.spend(used, now)
        if over is not self._held_down:
            self._hold_down(over)
            self.slowed = self.slowed or over
        return excess(Usage(stats.memory, len(stats.processes), *self._folder, running_for=now - self._started), limits)

    def _hold_down(self, slowed: bool) -> None:
        processes = bot_room.processes_of_python(sys.prefix, sys.base_prefix)
        limits = bot_room.job_limits(self._room.limits, os.cpu_count() or 1, processes, slowed=slowed)
        self._windows.make_job(self._job, limits)
        self._held_down = slowed

    def _box_size(self) -> tuple[int, int]:
        box, most = any_length(self._room.box), self._room.limits.folder_entries
        return folder_size(box, most, lambda entry: self._windows.size_of(Path(entry.path)))

    def stop(self, grace: float) -> None:
        """As `kill`: there is no signal to ask politely with."""
        del grace
        self.kill()

    def kill(self) -> None:
        """At once: the end of a job ends all that it holds. Its user goes, with what runs as it elsewhere."""
        with suppress(WindowsCallError):
            end_all(self._windows, self._root)
        if self._running is not None:
            self._end(self._running)
            self._finish_output(self._running.output)
        size, entries = self._box_size()
        if size > self._room.limits.folder_size or entries > self._room.limits.folder_entries:
            clear_folder(any_length(self._room.box))

    def _finish_output(self, output: IO[bytes]) -> None:
        if self._reader is None:
            output.close()
        else:
            self._reader.join(1.0)

    def _end(self, running: Confined) -> None:
        with suppress(WindowsCallError):
            self._windows.terminate(running.key)
        deadline = time.monotonic() + _END_SECONDS
        while self._windows.is_running(running.key) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
