"""A Wine prefix: the C: drive and registry that a terminal or the Windows Python runs in."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from provisioning.wine.tools import Report, program, run, wine64

_READY: Final = ".mt5farm-ready"
_WINDOWS_VERSION: Final = "win10"


def environment(prefix: Path) -> dict[str, str]:
    """What a program in this prefix needs in its environment, beside what it gets from its starter."""
    return {
        "WINEARCH": "win64",
        "WINEPREFIX": str(prefix),
        "WINEDEBUG": "-all",
        # A program that crashes is gone at once, and no installers of Mono and Gecko open windows.
        "WINEDLLOVERRIDES": "winedbg.exe=d;mscoree=;mshtml=",
    }


def windows_path(path: Path) -> str:
    """The name of a file of this machine inside Wine, whose drive Z: is the root."""
    return "Z:" + str(path.absolute()).replace("/", "\\")


def make_prefix(folder: Path, report: Report) -> Path:
    """Make a 64-bit prefix at `folder` unless it is there already; about 10 s and 700 MB. Raises WineError.

    Nothing of Wine runs in it afterwards, so it may be copied.
    """
    folder = folder.absolute()
    if (folder / _READY).exists():
        return folder
    wine = wine64()
    program("wineserver")
    report(f"Making the Wine prefix {folder} ...")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    quiet = os.environ | environment(folder)
    quiet.pop("DISPLAY", None)
    run("wineboot", [wine, "wineboot.exe", "-i"], quiet)
    key = r"HKEY_CURRENT_USER\Software\Wine"
    run("reg", [wine, "reg.exe", "add", key, "/v", "Version", "/d", _WINDOWS_VERSION, "/f"], quiet)
    stop(folder)
    (folder / _READY).touch()
    return folder


def stop(folder: Path) -> None:
    """End everything that runs in the prefix, and wait until its registry is on disk. Raises WineError."""
    inside = os.environ | environment(folder)
    # -k says 1 when nothing ran.
    run("wineserver", ["sh", "-c", "wineserver -k || [ $? = 1 ] && wineserver -w"], inside, seconds=60.0)
