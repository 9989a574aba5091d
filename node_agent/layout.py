"""Where everything of one agent lives: the data folder and the short run folder of its sockets."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from node_agent.errors import AlreadyRunningError, ConfigurationError
from node_agent.files import close_folder, private_folder, write_atomically
from node_agent.watchdog.fence_file import BEAT_FILE, FENCE_FILE, LEASE_FILE

_LOCKED_BYTE = 1 << 20
_TERMINAL_NAME = re.compile(r"ter_[0-9a-z]{16,32}")


@dataclass(frozen=True)
class TerminalLayout:
    """Files of one terminal. Its sockets are named after a digest, since socket paths have a 108-byte limit."""

    root: Path
    sockets: Path

    @property
    def folder(self) -> Path:
        """The terminal's own portable folder."""
        return self.root / "folder"

    @property
    def startup(self) -> Path:
        """MT5's start-up file with the password; there only until the broker has accepted the login."""
        return self.folder / "config" / "startup.ini"

    @property
    def runtime(self) -> Path:
        """Name of the runtime that made what is here."""
        return self.root / "runtime"

    @property
    def account(self) -> Path:
        """Id of the account that the terminal trades, for what is collected after nobody wants it here any more."""
        return self.root / "account"

    @property
    def worker_config(self) -> Path:
        return self.root / "worker.json"

    @property
    def token(self) -> Path:
        """Local secret of the bridge worker."""
        return self.root / "token"

    @property
    def lease(self) -> Path:
        """Until when the bridge worker may trade; there only for terminals that fence themselves."""
        return self.root / "lease"

    @property
    def journal(self) -> Path:
        """Order journal of the bridge worker."""
        return self.root / "journal.sqlite3"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def journals_of_terminal(self) -> tuple[Path, ...]:
        """Where a real terminal writes a file for each day: what it did, and what programs in it printed."""
        return self.folder / "logs", self.folder / "MQL5" / "Logs"

    @property
    def bots(self) -> Path:
        return self.root / "bots"

    @property
    def _short(self) -> str:
        return hashlib.sha256(self.root.name.encode()).hexdigest()[:12]

    @property
    def ipc_socket(self) -> Path:
        return self.sockets / f"{self._short}.t"

    @property
    def worker_socket(self) -> Path:
        return self.sockets / f"{self._short}.w"

    @property
    def screen_socket(self) -> Path:
        """Where the terminal's screen is shown; there only if it is."""
        return self.sockets / f"{self._short}.s"

    @property
    def run(self) -> Path:
        """What of the run folder the terminal's container may write to."""
        return self.sockets / f"{self._short}.d"

    def bridge_of(self, bot_id: str) -> Path:
        """Where a sandboxed bot finds the bridge."""
        return self.sockets / f"{hashlib.sha256(bot_id.encode()).hexdigest()[:12]}.b"

    def bot(self, bot_id: str) -> BotLayout:
        return BotLayout(self.bots / bot_id)

    @property
    def rooms(self) -> Path:
        """On Windows, where sandboxed bots of this terminal live: apart from what its own user may write to."""
        return self.root.parents[1] / "rooms" / self.root.name

    def room(self, bot_id: str) -> RoomLayout:
        return RoomLayout(self.rooms / bot_id)


@dataclass(frozen=True)
class BotLayout:
    """Files of one bot."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "bot.json"

    @property
    def token(self) -> Path:
        """The bot's own secret for the bridge worker."""
        return self.root / "token"

    @property
    def status(self) -> Path:
        """Written by the bot process."""
        return self.root / "status.json"

    @property
    def log(self) -> Path:
        """One JSON object a line, written by the bot process."""
        return self.root / "bot.log"

    @property
    def output(self) -> Path:
        return self.root / "output.log"

    @property
    def keeper(self) -> Path:
        """Configuration of the process that keeps a sandboxed bot."""
        return self.root / "keeper.json"

    @property
    def box(self) -> Path:
        """All that a sandboxed bot may write to. Nothing in it is trusted, not even to be a plain file."""
        return self.root / "box"


@dataclass(frozen=True)
class RoomLayout:
    """Files of one sandboxed bot on Windows."""

    root: Path

    @property
    def keeper(self) -> Path:
        """Configuration of the bot's keeper; the bot cannot read it."""
        return self.root / "keeper.json"

    @property
    def shown(self) -> Path:
        """What the bot reads beside its code: configuration, token, and the way to the bridge."""
        return self.root / "shown"

    @property
    def code(self) -> Path:
        return self.root / "code"

    @property
    def box(self) -> Path:
        """All that the bot may write to."""
        return self.root / "box"


@dataclass(frozen=True)
class GatewayLayout:
    """Files of the gateway process."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "gateway.json"

    @property
    def key(self) -> Path:
        return self.root / "key.pem"

    @property
    def certificate(self) -> Path:
        return self.root / "certificate.pem"

    @property
    def routes(self) -> Path:
        """Written by the agent whenever terminals, epochs or ticket keys change."""
        return self.root / "routes.json"

    @property
    def redeemed(self) -> Path:
        """Ids of used tickets."""
        return self.root / "redeemed.sqlite3"

    @property
    def ready(self) -> Path:
        """Written by the gateway once it listens."""
        return self.root / "ready.json"

    @property
    def figures(self) -> Path:
        """Written by the gateway while it runs."""
        return self.root / "figures.json"

    @property
    def output(self) -> Path:
        return self.root / "gateway.log"


@dataclass(frozen=True)
class DataLayout:
    """The agent's data folder."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> DataLayout:
        """Make the folders. Raises ConfigurationError when that is not possible."""
        layout = cls(root.resolve())
        try:
            private_folder(layout.root)
            if not layout.config.exists():
                close_folder(layout.root)
            for folder in (layout.gateway, layout.terminals):
                private_folder(folder)
        except OSError as error:
            raise ConfigurationError(f"the data folder {root} cannot be used: {error.strerror}") from error
        return layout

    @property
    def config(self) -> Path:
        return self.root / "agent.json"

    @property
    def identity(self) -> Path:
        """Private keys of the node."""
        return self.root / "identity.json"

    @property
    def ca(self) -> Path:
        """PEM certificate of the farm's CA."""
        return self.root / "ca.pem"

    @property
    def database(self) -> Path:
        return self.root / "agent.sqlite3"

    @property
    def lock(self) -> Path:
        return self.root / "agent.lock"

    @property
    def fence(self) -> Path:
        """Tells the watchdog what must die when."""
        return self.root / FENCE_FILE

    @property
    def fence_lease(self) -> Path:
        """The newest lease alone."""
        return self.root / LEASE_FILE

    @property
    def continuity(self) -> Path:
        """Token of the last answered sync."""
        return self.root / "continuity"

    @property
    def beat(self) -> Path:
        """The watchdog's signs of life."""
        return self.root / BEAT_FILE

    @property
    def gateway(self) -> Path:
        return self.root / "gateway"

    @property
    def gateway_files(self) -> GatewayLayout:
        return GatewayLayout(self.gateway)

    @property
    def bundles(self) -> Path:
        """Packed logs that wait for the control plane."""
        return self.root / "bundles"

    @property
    def terminals(self) -> Path:
        return self.root / "terminals"

    @property
    def code(self) -> Path:
        """What users have brought for their bots, each under its digest."""
        return self.root / "code"

    @property
    def templates(self) -> Path:
        """Terminal templates, each under its digest."""
        return self.root / "templates"

    @cached_property
    def run(self) -> Path:
        """Folder of the sockets.

        Chosen once: an agent with another TMPDIR must find the sockets of what its predecessor started.
        """
        if sys.platform == "win32":
            return self.root / "sockets"  # no short limit to their paths there
        try:
            owner, _, chosen = self.chosen_run.read_text().partition("\n")
        except FileNotFoundError:
            owner, chosen = "", ""
        if owner == str(self.root):
            return Path(chosen)
        # Never chosen, or chosen for the folder that this one is a copy of.
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:8]
        return Path(tempfile.gettempdir()) / f"mt5farm-{os.getuid()}-{digest}"

    @property
    def chosen_run(self) -> Path:
        """Names the run folder, and the data folder it was chosen for, since enrolment."""
        return self.root / "run"

    def terminal(self, terminal_id: str) -> TerminalLayout:
        root = self.terminals / terminal_id
        # On Windows the terminal's own user must reach its sockets, and reaches nothing else of ours.
        return TerminalLayout(root, root if sys.platform == "win32" else self.run)

    def terminals_on_disk(self) -> list[str]:
        """Ids of the terminals that have a folder here."""
        if not self.terminals.is_dir():
            return []
        return sorted(path.name for path in self.terminals.iterdir() if _TERMINAL_NAME.fullmatch(path.name))

    def open_run_folder(self) -> Path:
        """Make the run folder, and note where it is. Raises ConfigurationError when someone else made it first."""
        run = self.run
        if sys.platform == "win32":
            return private_folder(run)  # inside of the data folder, which is closed
        try:
            run.mkdir(mode=0o700, exist_ok=True)
            found = run.lstat()
        except OSError as error:
            raise ConfigurationError(f"the run folder {run} cannot be made: {error.strerror}") from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise ConfigurationError(f"the run folder {run} belongs to another user; remove it and start again")
        run.chmod(0o700)
        write_atomically(self.chosen_run, f"{self.root}\n{run}".encode())
        return run

    def acquire_lock(self) -> IO[str]:
        """Own the data folder until the returned file is closed. Raises AlreadyRunningError."""
        file = self.lock.open("a+")
        try:
            _lock(file)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            file.close()
            raise AlreadyRunningError(
                f"another agent (process {owner}) is running on {self.root}; stop it or use another folder"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        return file


def _lock(file: IO[str]) -> None:
    """Raises BlockingIOError, on Windows PermissionError, when another process has it."""
    if sys.platform == "win32":
        import msvcrt

        # A byte far behind the end: what is locked on Windows cannot be read, and the owner's pid should be.
        os.lseek(file.fileno(), _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
