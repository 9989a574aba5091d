"""What a backup says of itself, and the hashes by which damage is found.

The hashes are in the format of `sha256sum`, so that they can be checked where no farm is installed.
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from control_plane.errors import ConfigurationError

FORMAT = 1
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"


class SavedTable(BaseModel):
    """One table of the database as it was saved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int
    content_sha256: str = ""
    """Of the rows in the order of their keys, before compression; empty where the database is one file."""


class Manifest(BaseModel):
    """Facts of one backup."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    made_at: datetime
    farm_version: str
    database: str
    """`sqlite` or `postgresql`."""
    revision: str
    """Of the schema."""
    tables: dict[str, SavedTable]
    sequences: dict[str, int] = {}
    left_out: list[str] = []
    """Entries of the data folder that a backup does not keep, the keys above all."""


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Also writes the hashes, so this comes last."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in _names(folder)]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Compares every file with its hash first. Raises ConfigurationError when anything is missing, odd or damaged."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{folder} is not a whole backup: {SUMS} cannot be read") from error
    promised = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = set(_names(folder))
    if missing := sorted(promised.keys() - found):
        raise ConfigurationError(f"the backup {folder} is not whole: {missing[0]} is missing")
    if strange := sorted(found - promised.keys()):
        raise ConfigurationError(f"the backup {folder} was altered: {strange[0]} does not belong to it")
    for name, digest in promised.items():
        if sha256_of(folder / name) != digest:
            raise ConfigurationError(f"the backup {folder} is damaged: {name} is not what was saved")
    return _parse(folder)


def _parse(folder: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigurationError(f"{folder / MANIFEST} cannot be read; another version may have made it") from error
    if manifest.format != FORMAT:
        raise ConfigurationError(f"{folder} has format {manifest.format}; this version reads format {FORMAT}")
    return manifest


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_to_disk(folder: Path) -> None:
    """All files and folders below, so that a backup that is reported is one that a power cut leaves."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _names(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if not path.is_dir())
    return sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) != SUMS)
