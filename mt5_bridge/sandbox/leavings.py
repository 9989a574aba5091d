"""What a sandbox leaves for others to look at: lines that it prints, and files that nobody should trust to be files."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from mt5_bridge.sandbox.limits import Bucket

_CHUNK: Final = 16 * 1024
LINE_BYTES: Final = 2000
_PLAIN_FLAGS: Final = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
"""Windows has the last one alone."""


def tell_lines(output: IO[bytes], rate: float, tell: Callable[[bytes], None]) -> None:
    """Lines of what is printed until its end, at a pace (bytes/s): what is not read yet makes its writer wait, and
    fills no disk.
    """
    budget = Bucket(rate, rate * 2, time.monotonic())
    line, skipping = bytearray(), False
    while chunk := output.read(_CHUNK):
        while not budget.take(len(chunk), time.monotonic()):
            time.sleep(0.02)
        for piece in chunk.splitlines(keepends=True):
            if not skipping:
                line += piece[: LINE_BYTES - len(line) + 1]
            ended = piece.endswith(b"\n")
            if (ended or len(line) > LINE_BYTES) and not skipping:
                tell(bytes(line[:LINE_BYTES]).strip())
                line.clear()
                skipping = not ended
            elif ended:
                skipping = False
    if line:
        tell(bytes(line).strip())


def read_plain(path: Path, most: int) -> bytes | None:
    """The first bytes of a plain file that strangers may have replaced by a link, a pipe or a folder. None then."""
    try:
        if _leads_elsewhere(path.lstat()):
            return None
        descriptor = os.open(path, os.O_RDONLY | _PLAIN_FLAGS)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def clear_folder(folder: Path) -> None:
    """Remove all that is in it, however deep. Follows no links. What cannot be removed is left."""
    moved = 0
    stuck: set[str] = set()
    while waiting := [entry for entry in _entries(folder) if entry.name not in stuck]:
        for entry in waiting:
            try:
                if not is_folder(entry):
                    Path(entry.path).unlink()
                    continue
                for inner in _entries(Path(entry.path)):
                    if is_folder(inner):
                        # To the top, so that no path gets longer than the system allows.
                        Path(inner.path).rename(folder / f".cleared{moved}")
                        moved += 1
                    else:
                        Path(inner.path).unlink()
                Path(entry.path).rmdir()
            except OSError:
                stuck.add(entry.name)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder itself and not some kind of link to one. Raises OSError."""
    return entry.is_dir(follow_symlinks=False) and not _leads_elsewhere(entry.stat(follow_symlinks=False))


def _leads_elsewhere(status: os.stat_result) -> bool:
    """Also the junctions of Windows, which everybody can make and Python takes for folders."""
    reparse = getattr(status, "st_file_attributes", 0) & stat.FILE_ATTRIBUTE_REPARSE_POINT
    return stat.S_ISLNK(status.st_mode) or bool(reparse)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return list(found)


def folder_size(folder: Path, most: int, size_of: Callable[[os.DirEntry[str]], int]) -> tuple[int, int]:
    """Bytes, by `size_of`, and entries below a folder; stops counting behind `most` entries. Follows no links."""
    size, entries = 0, 0
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    if entries > most:
                        return size, entries
                    with suppress(OSError):
                        size += size_of(entry)
                        if is_folder(entry):
                            waiting.append(Path(entry.path))
        except OSError:
            continue
    return size, entries
