"""Logs that nodes have packed and handed over, as files beside the database."""

from __future__ import annotations

from datetime import datetime

from control_plane.storage.port import Files

_FOLDER = "bundles"


class Bundles:
    """One tar.gz for each request. Ids come from the database, never from a path that somebody sent."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def put(self, request_id: str, content: bytes) -> None:
        """Whole or not at all; once more changes nothing. Raises OSError."""
        self._files.put(_name(request_id), content)

    def get(self, request_id: str) -> bytes | None:
        """None when it was never handed over, or is no longer kept. Raises OSError."""
        try:
            return self._files.read(_name(request_id))
        except FileNotFoundError:
            return None

    def delete_older(self, moment: datetime) -> None:
        for name in self._files.names(_FOLDER):
            try:
                old = self._files.modified(name) < moment
            except FileNotFoundError:
                continue  # another control plane was faster
            if old:
                self._files.delete(name)


def _name(request_id: str) -> str:
    return f"{_FOLDER}/{request_id}.tar.gz"
