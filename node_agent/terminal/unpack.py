"""Unpacks an archive that came from elsewhere into a folder, and nothing outside of it.

Only plain files and folders with plain relative names are taken; links, devices and names that Windows reads otherwise
(backslashes, drive letters, trailing dots) are refused, as is more than a terminal can need: an archive of a few
kilobytes can hold terabytes.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, Final

MOST_BYTES: Final = 4 * 1024**3
MOST_FILES: Final = 50_000
_LONGEST_NAME: Final = 400
_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o755
_FORBIDDEN: Final = frozenset('\\:*?"<>|')


class ArchiveError(Exception):
    """The archive is not taken. The message is one sentence without paths of this machine."""


def unpack(archive: IO[bytes], into: Path, most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES) -> None:
    """Unpack a gzipped tar into an empty folder. Raises ArchiveError, OSError; what is there then is rubbish."""
    left_bytes, left_files = most_bytes, most_files
    seen: set[str] = set()
    try:
        with tarfile.open(fileobj=archive, mode="r|gz") as members:
            for member in members:
                left_files -= 1
                left_bytes -= member.size
                if left_files < 0 or left_bytes < 0:
                    raise ArchiveError("The archive holds more than a terminal can need.")
                name = checked_name(member.name)
                if name.lower() in seen:
                    raise ArchiveError(f"The archive holds {name[:80]!r} twice.")
                seen.add(name.lower())
                _take(members, member, into / name)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ArchiveError("The archive is damaged.") from error


def checked_name(name: str) -> str:
    """A name that stays inside and means the same on Windows. Raises ArchiveError."""
    parts = PurePosixPath(name).parts
    strange = (
        not parts
        or len(name) > _LONGEST_NAME
        or name.startswith("/")
        or bool(_FORBIDDEN & set(name))
        or any(part in {"..", "."} or part[-1] in ". " or any(ord(letter) < 32 for letter in part) for part in parts)
    )
    if strange:
        raise ArchiveError(f"The archive holds the name {name[:80]!r}, which is not taken.")
    return "/".join(parts)


def _take(members: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
        return
    source = members.extractfile(member) if member.isreg() else None
    if source is None:
        raise ArchiveError(f"The archive holds {member.name[:80]!r}, which is neither file nor folder.")
    target.parent.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
    with target.open("xb") as file:
        shutil.copyfileobj(source, file, 1024 * 1024)
    # Whatever the archive says, and whatever this process keeps from others: terminals run as other users.
    target.chmod(_FILE_MODE)
