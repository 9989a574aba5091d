"""Whether the parts of this image are the ones that were tested together."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Final

from provisioning.wine.image.seat import places

_DPKG: Final = Path("/var/lib/dpkg/status")


def differences() -> list[str]:
    """A sentence for each part that is another one than in `tested.json`; empty when all are the same."""
    tested: dict[str, str] = json.loads(places.TESTED.read_text(encoding="utf-8"))
    found = _found()
    return [
        f"{part} is {found.get(part) or 'missing'} instead of {version}"
        for part, version in sorted(tested.items())
        if found.get(part) != version
    ]


def _found() -> dict[str, str]:
    windows = places.WINDOWS_PYTHON / "Lib" / "site-packages"
    return {
        "wine": _debian_version("wine64"),
        "x11vnc": _debian_version("x11vnc"),
        "python_linux": ".".join(platform.python_version_tuple()[:2]),
        "python_windows": _interpreter_version(),
        "MetaTrader5": _package_version(windows, "MetaTrader5"),
        "numpy_windows": _package_version(windows, "numpy"),
        "numpy": _package_version(places.PACKAGES, "numpy"),
        "rpyc": _package_version(places.PACKAGES, "rpyc"),
    }


def _debian_version(package: str) -> str:
    for paragraph in _DPKG.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Package") == package and fields.get("Status", "").endswith(" installed"):
            return fields.get("Version", "")
    return ""


def _interpreter_version() -> str:
    libraries = sorted(path.stem for path in places.WINDOWS_PYTHON.glob("python3?*.dll") if path.stem != "python3")
    return f"{libraries[0][6]}.{libraries[0][7:]}" if len(libraries) == 1 else ""


def _package_version(folder: Path, name: str) -> str:
    """Of an installed wheel, from the name of its metadata folder."""
    found = [path.name for path in folder.glob("*.dist-info") if path.name.lower().startswith(f"{name.lower()}-")]
    return found[0].removesuffix(".dist-info").partition("-")[2] if len(found) == 1 else ""
