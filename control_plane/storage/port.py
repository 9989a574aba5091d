"""What keeps files: a folder of this machine, or a bucket that several machines share."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Files(Protocol):
    """Names are made by the farm: `folder/name`, of letters, digits, `_`, `-` and `.`. Everything raises OSError."""

    def put(self, name: str, content: bytes) -> None:
        """Whole or not at all, also to those who read meanwhile; the same name again replaces it."""
        ...

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        ...

    def names(self, folder: str) -> list[str]:
        """Full names of what lies in a folder, sorted; none when there is no such folder."""
        ...

    def modified(self, name: str) -> datetime:
        """When it was put. Raises FileNotFoundError."""
        ...

    def delete(self, name: str) -> None:
        """One that is not there is no error."""
        ...
