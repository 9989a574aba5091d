"""Logs on request: packed into one file, which waits on disk until the control plane has it.

Packed are the logs of terminal, bridge and bots and the terminal's own journal, the newest first and of each file its
end, until the bundle is as large as the control plane takes.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import tarfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from node_agent.control_link import ControlError, ControlLink, RejectedError
from node_agent.files import open_inside, private_folder
from node_agent.layout import DataLayout, TerminalLayout
from node_agent.protocol.messages import BUNDLE_BYTES

_log = structlog.get_logger(__name__)
_END_OF_FILE: Final = 4 * 1024 * 1024
"""So much of the end of each file."""
_KEPT: Final = 20
"""Bundles that wait at most; the oldest make room."""
_SUFFIX: Final = ".tar.gz"


def pack_logs(layout: DataLayout, terminal_id: str, request_id: str, most: int = BUNDLE_BYTES) -> Path:
    """Write the bundle that answers a request, again if it was written before. Raises OSError."""
    waiting = private_folder(layout.bundles)
    target = waiting / f"{terminal_id}.{urllib.parse.quote(request_id, safe='')}{_SUFFIX}"
    partial = target.with_suffix(".partial")
    terminal = layout.terminal(terminal_id)
    with partial.open("wb") as file, tarfile.open(fileobj=file, mode="w:gz") as bundle:
        for path in sorted(_logs(terminal), key=_age):
            # Even what does not get any smaller must still fit.
            if file.tell() + _END_OF_FILE > most:
                _log.warning("bundle_full", terminal=terminal_id, left_out_from=path.name)
                break
            _add(bundle, terminal.root, path)
    shutil.move(partial, target)
    for old in sorted(waiting.glob(f"*{_SUFFIX}"), key=_age)[_KEPT:]:
        old.unlink(missing_ok=True)
    return target


def _logs(terminal: TerminalLayout) -> Iterator[Path]:
    """What the terminal writes to it may also have filled with links, which are not followed."""
    for folder in (terminal.logs, *terminal.journals_of_terminal):
        for place, _, names in os.walk(folder) if not folder.is_symlink() else ():
            yield from (path for path in (Path(place) / name for name in names) if _is_plain(path))
    if terminal.bots.is_dir():
        yield from (path for path in terminal.bots.glob("*/*.log") if _is_plain(path))


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _age(path: Path) -> float:
    """Newest first; what has gone meanwhile last."""
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0


def _add(bundle: tarfile.TarFile, root: Path, path: Path) -> None:
    try:
        with os.fdopen(open_inside(root, path), "rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - _END_OF_FILE))
            content = file.read(_END_OF_FILE)
            entry = tarfile.TarInfo(str(path.relative_to(root)))
            entry.mtime = int(os.fstat(file.fileno()).st_mtime)
    except OSError as error:
        _log.warning("log_not_packed", path=str(path), error=str(error))
        return
    entry.size = len(content)
    bundle.addfile(entry, io.BytesIO(content))


async def deliver_bundles(link: ControlLink, layout: DataLayout, interval: float) -> None:
    """Until cancelled: hand over what waits. A bundle leaves the disk when the control plane has it, or refuses it."""
    while True:
        await asyncio.sleep(interval)
        for path in await asyncio.to_thread(_waiting, layout.bundles):
            try:
                await _deliver(link, path)
            except ControlError as error:
                _log.warning("bundle_not_delivered", bundle=path.name, error=str(error))
                break
            except OSError as error:
                _log.error("bundle_unreadable", bundle=path.name, error=str(error))


def _waiting(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_SUFFIX}"), key=_age) if folder.is_dir() else []


async def _deliver(link: ControlLink, path: Path) -> None:
    terminal_id, _, quoted = path.name.removesuffix(_SUFFIX).partition(".")
    content = await asyncio.to_thread(path.read_bytes)
    try:
        await link.bundle(terminal_id, urllib.parse.unquote(quoted), content)
    except RejectedError as error:
        _log.error("bundle_rejected", bundle=path.name, error=str(error))
    await asyncio.to_thread(path.unlink, missing_ok=True)
