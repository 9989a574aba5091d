"""What a terminal's container sees of this machine's files, and how what it makes there is taken.

The programs in the container are not to be trusted: an Expert Advisor may use DLLs. What they can write to, they can
also fill with links that lead elsewhere on this machine. So nothing in there is opened by a name that they could have
changed, and sockets are taken out by a hard link to the very file, which is looked at afterwards.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from node_agent.files import private_folder
from node_agent.layout import TerminalLayout
from node_agent.terminal.folder import lay_out, own_folders

ROOT: Final = Path("/terminal")
RUN: Final = Path("/run/mt5farm")
SOCKET: Final = "w"
SCREEN: Final = "s"
CONTAINER_USER: Final = 10001
"""The image's user; an agent that is not root uses its own, whose files it can then read and remove."""
_OWN: Final = ("prefix", "logs", "bridge")


class ContainerFiles:
    """All methods raise OSError."""

    def __init__(self) -> None:
        self._is_root = os.geteuid() == 0
        self._uid, self._gid = (CONTAINER_USER,) * 2 if self._is_root else (os.getuid(), os.getgid())

    @property
    def user(self) -> str:
        """As Docker names it."""
        return f"{self._uid}:{self._gid}"

    def prepare(self, layout: TerminalLayout, template: Path, digest: str) -> None:
        """Lay out everything that is mounted. The terminal must not run."""
        private_folder(layout.root)
        private_folder(layout.run)
        lay_out(layout.folder, template, digest)
        for name in _OWN:
            (layout.root / name).mkdir(exist_ok=True)
        if self._is_root:
            for folder in (*own_folders(layout.folder), *(layout.root / name for name in _OWN), layout.run):
                self._give(folder)
        self.share(layout.root)
        self.share(layout.folder)

    def write_startup(self, layout: TerminalLayout, content: bytes) -> None:
        """The start-up file, for the terminal's user alone."""
        config = os.open(layout.startup.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        draft = f".startup.{secrets.token_hex(4)}"
        try:
            file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=config)
            try:
                with os.fdopen(file, "wb") as opened:
                    if self._is_root:
                        os.fchown(opened.fileno(), self._uid, self._gid)
                    opened.write(content)
                os.replace(draft, layout.startup.name, src_dir_fd=config, dst_dir_fd=config)
            except BaseException:
                os.unlink(draft, dir_fd=config)
                raise
        finally:
            os.close(config)

    def mounts(self, layout: TerminalLayout) -> dict[str, dict[str, str]]:
        """For Docker: the terminal's folder for reading, and over it what the terminal may write to."""
        own = [*own_folders(layout.folder), *(layout.root / name for name in _OWN)]
        inside = self.inside(layout)
        return (
            {str(layout.root): {"bind": str(ROOT), "mode": "ro"}}
            | {str(path): {"bind": inside(path), "mode": "rw"} for path in own}
            | {str(layout.run): {"bind": str(RUN), "mode": "rw"}}
        )

    def inside(self, layout: TerminalLayout) -> Callable[[Path], str]:
        """What a file of the layout is called in the container."""

        def name(path: Path) -> str:
            if path == layout.worker_socket:
                return str(RUN / SOCKET)
            if path == layout.journal:
                return str(ROOT / "bridge" / path.name)
            return str(ROOT / path.relative_to(layout.root))

        return name

    def share(self, path: Path) -> None:
        """Let the container's user read what is the agent's."""
        if self._is_root:
            os.chown(path, 0, self._gid, follow_symlinks=False)
            path.chmod(0o750 if path.is_dir() else 0o640)

    def forget_socket(self, layout: TerminalLayout) -> None:
        """Of a worker that has ended."""
        _forget(layout.worker_socket, layout.run / SOCKET)

    def forget_screen(self, layout: TerminalLayout) -> None:
        """Of a container that has ended."""
        _forget(layout.screen_socket, layout.run / SCREEN)

    def offer_socket(self, layout: TerminalLayout) -> bool:
        """Bring the worker's socket to its place once it listens; False before."""
        return _offer(layout.run / SOCKET, layout.worker_socket)

    def offer_screen(self, layout: TerminalLayout) -> bool:
        """The same for the screen; False when it is not shown."""
        return _offer(layout.run / SCREEN, layout.screen_socket)

    def _give(self, folder: Path) -> None:
        """To the container's user, with all that is in there; links are given, not followed."""
        for path, folders, files in os.walk(folder, followlinks=False):
            os.chown(path, self._uid, self._gid, follow_symlinks=False)
            for name in (*folders, *files):
                os.chown(Path(path) / name, self._uid, self._gid, follow_symlinks=False)


def _offer(made: Path, place: Path) -> bool:
    try:
        os.link(made, place, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except FileExistsError:
        return True
    if not stat.S_ISSOCK(place.lstat().st_mode):
        place.unlink()
        raise OSError(f"{made.name} in the terminal's run folder is no socket")
    return True


def _forget(*places: Path) -> None:
    for place in places:
        place.unlink(missing_ok=True)
