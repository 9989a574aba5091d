"""Logs that nodes have packed and handed over, as files beside the database."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path


class Bundles:
    """One tar.gz for each request. Ids come from the database, never from a path that somebody sent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, request_id: str, content: bytes) -> None:
        """Whole or not at all; once more changes nothing. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.path(request_id)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        draft.replace(path)

    def path(self, request_id: str) -> Path:
        return self._folder / f"{request_id}.tar.gz"

    def delete_older(self, moment: datetime) -> None:
        for path in self._folder.glob("*.tar.gz"):
            if path.stat().st_mtime < moment.timestamp():
                path.unlink(missing_ok=True)
