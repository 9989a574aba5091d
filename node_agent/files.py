"""Writing of small private files so that a reader or a crash never sees half of one."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from pathlib import Path

from mt5_bridge.replacing import put_in_place


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by a file of mode 0600, on Windows of its folder's rights.

    Raises OSError and leaves the old file in place.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def private_folder(path: Path) -> Path:
    """Make `path` and its parents; the folder itself is closed to other users.

    On Windows a folder has the rights of the one that it is in, and the agent's data folder is closed (`close_folder`).
    """
    path.mkdir(parents=True, exist_ok=True)
    if sys.platform != "win32":
        path.chmod(0o700)
    return path


def open_inside(root: Path, path: Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a plain file below `root`, where others may have put links and pipes. `path` begins with `root`.

    Raises OSError, also for what leads out of `root`.
    """
    _stay_inside(root, path)
    # Not to hang on a pipe, either.
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        _expect(stat.S_ISREG(os.fstat(descriptor).st_mode), "is no plain file", path)
        # A folder on the way may have become a link since it was looked at.
        opened = Path(f"/proc/self/fd/{descriptor}")
        if opened.exists():
            _stay_inside(root, opened)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def remove_inside(root: Path, path: Path) -> None:
    """Delete a file below `root`, where others may have put links: a link itself goes, what it leads to never.

    Raises OSError, also for a folder that leads out of `root`.
    """
    _stay_inside(root, path.parent)
    if sys.platform == "win32":
        path.unlink()
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        # A folder on the way may have become a link since it was looked at.
        opened = Path(f"/proc/self/fd/{folder}")
        if opened.exists():
            _stay_inside(root, opened)
        os.unlink(path.name, dir_fd=folder)
    finally:
        os.close(folder)


def _stay_inside(root: Path, path: Path) -> None:
    _expect(path.resolve().is_relative_to(root.resolve()), "leads out of its folder", path)


def _expect(fact: bool, otherwise: str, path: Path) -> None:
    if not fact:
        raise PermissionError(errno.EPERM, otherwise, str(path))


def close_folder(path: Path) -> None:
    """On Windows: leave only SYSTEM, the administrators and this user any right to the folder and all below it.

    Raises OSError.
    """
    if sys.platform == "win32":
        from node_agent.windows import rights
        from node_agent.windows.isolation import private_rights
        from node_agent.windows.port import WindowsCallError

        try:
            rights.set_rights(path, private_rights(rights.own_sid()))
        except WindowsCallError as error:
            raise PermissionError(error.code, str(error), str(path)) from error
