"""The portable folder of one terminal, laid out from a template.

What the template has at its top is MetaTrader's program: linked, not copied, so that a hundred terminals need the room
of one, and for reading only. Its folders are the terminal's own: copied once, and kept when the template changes, since
they hold the account's charts, files and logs. `config` is the exception: its files that the new template has are
replaced, because the broker's list of servers is among them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

PROGRAM: Final = "terminal64.exe"
OWN_FOLDERS: Final = ("config", "logs", "MQL5", "bases", "profiles", "temp", "tester")
"""What a portable terminal writes to. Made even when the template lacks them, since the folder above is read-only."""
_STAMP: Final = ".mt5farm-template"
_REPLACED: Final = "config"


def lay_out(folder: Path, template: Path, digest: str) -> list[Path]:
    """Bring a portable folder to a template; gives the folders that the terminal writes to. Raises OSError.

    The terminal must not run. Doing it twice changes nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / _STAMP
    if not stamp.is_file() or stamp.read_text(encoding="ascii") != digest:
        stamp.unlink(missing_ok=True)
        _link_program(folder, template)
        _copy_folders(folder, template)
        stamp.write_text(digest, encoding="ascii")
    return own_folders(folder)


def own_folders(folder: Path) -> list[Path]:
    """What the terminal of a portable folder writes to."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def _link_program(folder: Path, template: Path) -> None:
    for old in folder.iterdir():
        if not old.is_dir() or old.is_symlink():
            old.unlink()
    for file in template.iterdir():
        if file.is_file():
            link_or_copy(file, folder / file.name)


def _copy_folders(folder: Path, template: Path) -> None:
    present = {path.name.lower(): path for path in own_folders(folder)}
    # Windows does not tell Config from config; where both names exist the terminal would find either.
    for source in (path for path in template.iterdir() if path.is_dir()):
        own = present.get(source.name.lower())
        if own is None:
            shutil.copytree(source, folder / source.name)
        elif source.name.lower() == _REPLACED:
            _replace_files(source, own)
    names = {path.name.lower() for path in own_folders(folder)}
    for name in OWN_FOLDERS:
        if name.lower() not in names:
            (folder / name).mkdir()


def _replace_files(source: Path, own: Path) -> None:
    # The terminal may have put links where these files were; they are replaced, never followed.
    for file in source.iterdir():
        if file.is_file():
            target = own / file.name
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
            shutil.copyfile(file, target)


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link, or a copy where there can be none. Raises OSError."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
