"""What of the data folder a backup keeps beside the database."""

from __future__ import annotations

import shutil
from pathlib import Path

from control_plane.errors import ConfigurationError

FILES = "files"
"""Folder of the backup that holds them."""
SAVED = ("files", "served.json", "templates")
"""Kept when they are there: collected logs and heads of the audit trail, the addresses last served, terminals."""
LEFT_OUT = ("bundles", "farm.sqlite3", "farm.sqlite3-shm", "farm.sqlite3-wal", "keys", "mail", "migrate.lock")
"""The database is saved by its own means. The keys never are: whoever has a backup must not have the secrets in it, nor
the links in recorded mail. `bundles` is where an earlier version kept logs."""


def save_files(data: Path, backup: Path) -> list[str]:
    """Copies what is kept; returns the names of what is not, the unknown among it."""
    target = backup / FILES
    target.mkdir(mode=0o700)
    left_out = []
    for entry in sorted(data.iterdir()):
        if entry.name not in SAVED or entry.is_symlink():
            left_out.append(entry.name)
        elif entry.is_dir():
            shutil.copytree(entry, target / entry.name, ignore=shutil.ignore_patterns(".*"), symlinks=True)
        else:
            shutil.copyfile(entry, target / entry.name)
    return left_out


def check_room(data: Path) -> None:
    """Raises ConfigurationError when a farm has files in `data` already; only its keys may be there."""
    for name in SAVED:
        if (data / name).exists():
            raise ConfigurationError(f"{data / name} is in the way; restore into a folder without a farm")


def load_files(backup: Path, data: Path) -> None:
    """Only what a backup keeps: nothing in it may become a key of the farm."""
    for entry in sorted((backup / FILES).iterdir()):
        if entry.name not in SAVED:
            raise ConfigurationError(f"{entry} has no place in a backup")
        if entry.is_dir():
            shutil.copytree(entry, data / entry.name)
        else:
            shutil.copyfile(entry, data / entry.name)
