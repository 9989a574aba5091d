"""Files in a folder that nobody else may read."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from pathlib import Path


class LocalFiles:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, content: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def names(self, folder: str) -> list[str]:
        found = (self._folder / folder).glob("[!.]*")
        return sorted(f"{folder}/{path.name}" for path in found if path.is_file())

    def modified(self, name: str) -> datetime:
        return datetime.fromtimestamp((self._folder / name).stat().st_mtime, UTC)

    def delete(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)
