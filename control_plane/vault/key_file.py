"""Master keys in one 0600 file beside, never inside, the database: one base64 line for each, the newest last."""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from control_plane.errors import ConfigurationError
from control_plane.vault.masters import Wrapped
from control_plane.vault.sealing import KEY_BYTES, SealBrokenError, new_key, seal, unseal

_ID_DIGITS = 16


class KeyFile:
    """Reads the file anew before it wraps, and when it meets a key that it does not know.

    So all processes of a farm follow a rotation without being told.
    """

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError when the file is readable by others or holds no key, or FileNotFoundError."""
        self._path = path
        self._keys = _read(path)

    @classmethod
    def create(cls, path: Path) -> KeyFile:
        """Make a file with a new key. The first of several processes wins, the others read what it wrote."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = _draft(path, [new_key()])
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass  # another process was first, and its key is as good
        finally:
            draft.unlink()
        return cls(path)

    def newest_id(self) -> str:
        self._keys = _read(self._path)
        return next(reversed(self._keys))

    def wrap(self, plain: bytes, place: str) -> Wrapped:
        newest = self.newest_id()
        return Wrapped(newest, seal(self._keys[newest], plain, place))

    def unwrap(self, wrapped: Wrapped, place: str) -> bytes:
        if not wrapped.master_id:
            return self._unwrap_with_any(wrapped.value, place)
        if wrapped.master_id not in self._keys:
            self._keys = _read(self._path)
        key = self._keys.get(wrapped.master_id)
        if key is None:
            raise SealBrokenError("the master key of this value is not held")
        return unseal(key, wrapped.value, place)

    def rotate(self) -> str:
        with self._alone() as keys:
            added = new_key()
            _draft(self._path, [*keys.values(), added]).replace(self._path)
        return _key_id(added)

    def retire_all_but(self, used: Collection[str]) -> None:
        """Others move to files of their own beside this one: backups of the database from their time need them."""
        with self._alone() as keys:
            kept = {key_id for key_id in keys if key_id in used} | {next(reversed(keys))}
            for key_id in keys.keys() - kept:
                aside = self._path.with_name(f"{self._path.name}.retired-{key_id}")
                _draft(aside, [keys[key_id]]).replace(aside)
            _draft(self._path, [key for key_id, key in keys.items() if key_id in kept]).replace(self._path)

    def _unwrap_with_any(self, value: bytes, place: str) -> bytes:
        for key in self._keys.values():
            try:
                return unseal(key, value, place)
            except SealBrokenError:
                continue
        raise SealBrokenError("no master key that is held opens this value")

    @contextmanager
    def _alone(self) -> Iterator[dict[str, bytes]]:
        """The keys as they are now; no other process changes the file meanwhile."""
        with self._path.with_name(f"{self._path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield _read(self._path)
        self._keys = _read(self._path)


def _read(path: Path) -> dict[str, bytes]:
    if path.stat().st_mode & 0o077:
        raise ConfigurationError(f"{path} must be readable by its owner only; run: chmod 600 {path}")
    try:
        keys = [base64.b64decode(line, validate=True) for line in path.read_text("ascii").split()]
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} does not hold a master key; restore it from your backup") from error
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise ConfigurationError(f"{path} does not hold a master key; restore it from your backup")
    return {_key_id(key): key for key in keys}


def _key_id(key: bytes) -> str:
    """Tells keys apart and nothing about them."""
    return hashlib.sha256(b"mt5farm/master-key-id/1|" + key).hexdigest()[:_ID_DIGITS]


def _draft(path: Path, keys: list[bytes]) -> Path:
    """A whole file on disk, to be moved or linked to its place: a crash leaves the old one or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.writelines(base64.b64encode(key) + b"\n" for key in keys)
        file.flush()
        os.fsync(file.fileno())
    return draft
