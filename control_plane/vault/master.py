"""The master key: one 0600 file beside, never inside, the database."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from control_plane.errors import ConfigurationError
from control_plane.vault.sealing import KEY_BYTES, new_key


def load_master_key(path: Path) -> bytes:
    """Raises ConfigurationError when the file is readable by others or holds no key."""
    if path.stat().st_mode & 0o077:
        raise ConfigurationError(f"{path} must be readable by its owner only; run: chmod 600 {path}")
    try:
        key = base64.b64decode(path.read_text("ascii").strip(), validate=True)
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} does not hold a master key; restore it from your backup") from error
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"{path} does not hold a master key; restore it from your backup")
    return key


def create_master_key(path: Path) -> bytes:
    """Make a new key. The first of several processes wins, the others read what it wrote."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = new_key()
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(key) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return load_master_key(path)
    finally:
        draft.unlink()
    return key
