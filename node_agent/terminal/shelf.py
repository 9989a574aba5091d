"""The terminal templates of a node, each under the SHA-256 of its archive: fetched once, verified, unpacked, shared."""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import structlog

from node_agent.files import private_folder
from node_agent.protocol.messages import TemplateRef
from node_agent.terminal.folder import PROGRAM
from node_agent.terminal.unpack import ArchiveError, unpack

_log = structlog.get_logger(__name__)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

Fetch = Callable[[TemplateRef, Path], None]
"""Bring the bytes of a template into a file, which may hold the first part of them already. Raises OSError and
TemplateError; what has arrived stays in the file, for the next try.
"""


class TemplateError(Exception):
    """The template cannot be had. The message is safe to show."""


class TemplateShelf:
    """Thread-safe; a template is fetched once however many terminals ask for it."""

    def __init__(self, root: Path, fetch: Fetch) -> None:
        self._root = root
        self._fetch = fetch
        self._lock = threading.Lock()

    def held(self) -> list[str]:
        """Digests of the templates that are here whole."""
        if not self._root.is_dir():
            return []
        return sorted(path.name for path in self._root.iterdir() if _DIGEST.fullmatch(path.name))

    def take(self, template: TemplateRef) -> Path:
        """The unpacked template; blocks while it is fetched. Raises TemplateError, OSError."""
        folder = self._root / template.sha256
        with self._lock:
            if not folder.is_dir():
                private_folder(self._root)
                archive = self._root / f"{template.sha256}.part"
                self._fetch(template, archive)
                self._open(template, archive, folder)
                _log.info("template_unpacked", name=template.name, build=template.build, sha256=template.sha256)
        return folder

    def clean(self, wanted: Collection[str]) -> list[str]:
        """Remove the templates that nobody wants, and half-fetched ones of theirs; gives the digests that went.

        Folders of terminals hold the program's files by links of their own and lose nothing.
        """
        with self._lock:
            gone = [digest for digest in self.held() if digest not in wanted]
            for digest in gone:
                shutil.rmtree(self._root / digest)
            for part in self._root.glob("*.part") if self._root.is_dir() else ():
                if part.stem not in wanted:
                    part.unlink()
        return gone

    def _open(self, template: TemplateRef, archive: Path, folder: Path) -> None:
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != template.sha256:
            archive.unlink()
            raise TemplateError("The terminal template that arrived is not the one that was asked for.")
        draft = self._root / f"{template.sha256}.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        try:
            _unpack_terminal(archive, draft)
        except ArchiveError as error:
            shutil.rmtree(draft)
            archive.unlink()
            raise TemplateError(f"The terminal template cannot be used. {error}") from error
        # A folder of that name is always whole.
        draft.rename(folder)
        archive.unlink()


def _unpack_terminal(archive: Path, into: Path) -> None:
    with archive.open("rb") as file:
        unpack(file, into)
    if not (into / PROGRAM).is_file():
        raise ArchiveError(f"The archive holds no {PROGRAM}.")
