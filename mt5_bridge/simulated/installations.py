"""Terminals of one machine, among which `initialize()` chooses when it gets no path (rule B7)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROGRAM = "terminal64.exe"
_ADDRESS_FILE = "ipc.txt"


def announce(folder: Path, ipc: str) -> None:
    """Write down where the terminal in `folder` serves programs. Raises OSError."""
    (folder / _ADDRESS_FILE).write_text(ipc, encoding="utf-8")


@dataclass(frozen=True)
class Installations:
    """The terminals in the folders of `root`. `started_by` is the folder of the one that started this process."""

    root: Path
    started_by: Path | None = None

    def address(self, path: str | None) -> str | None:
        """Where the terminal named by `path` serves programs, or without one that of this process, or the one whose
        accounts or settings were written last; None if there is no such terminal.
        """
        folder = self._chosen() if path is None else _folder_of(Path(path))
        try:
            return None if folder is None else (folder / _ADDRESS_FILE).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None

    def _chosen(self) -> Path | None:
        if self.started_by is not None:
            return self.started_by
        settings = self.root.glob("*/config/*")
        latest = max(settings, key=lambda file: file.stat().st_mtime_ns, default=None)
        return None if latest is None else latest.parent.parent


def _folder_of(path: Path) -> Path:
    return path.parent if path.name == PROGRAM else path
