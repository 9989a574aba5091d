"""What holds the farm's master key: a file on this machine, or a key management service.

A master key wraps data keys and the farm's own private keys, and nothing else. Every wrapped value is stored with the
id of the key that wrapped it, so that keys can be replaced while the farm runs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Wrapped:
    master_id: str
    value: bytes


class MasterKeys(Protocol):
    def newest_id(self) -> str:
        """Id of the key that wraps from now on. Raises UnavailableError when it cannot be asked."""
        ...

    def wrap(self, plain: bytes, place: str) -> Wrapped:
        """Seal a key for one place, under the newest master key. Raises UnavailableError."""
        ...

    def unwrap(self, wrapped: Wrapped, place: str) -> bytes:
        """Raises SealBrokenError for what does not belong there or whose master key is not held any more.

        An empty id stands for a value from before ids were kept. Raises UnavailableError, after which trying again
        may help.
        """
        ...

    def rotate(self) -> str:
        """Make a new newest key; the former ones still unwrap. Returns its id. Raises UnavailableError."""
        ...

    def retire_all_but(self, used: Collection[str]) -> None:
        """Hold only the newest key and those that still wrap something."""
        ...
