"""A terminal's own Wine prefix: registry and user folders of its own, Windows itself from the image.

The image's `windows` and program folders are linked, not copied: they cost nothing, and nothing in the container can
change them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from provisioning.wine.image.seat import places
from provisioning.wine.prefix import environment, make_prefix, windows_path

_SET: Final = ".mt5farm-set"
_OWN_FOLDERS: Final = ("users", "ProgramData")


def make_template() -> None:
    """While the image is built. Raises WineError."""
    make_prefix(places.TEMPLATE_PREFIX, print)


def own_prefix(prefix: Path = places.PREFIX, template: Path = places.TEMPLATE_PREFIX) -> Path:
    """Make the terminal's prefix unless it was made from this template already. Raises OSError.

    One of another image is replaced: a registry belongs to its Wine. The terminal keeps its own data in its portable
    folder.
    """
    made_from = (template / ".update-timestamp").read_text(encoding="ascii") + places.TESTED.read_text("utf-8")
    stamp = prefix / _SET
    if stamp.exists() and stamp.read_text(encoding="utf-8") == made_from:
        return prefix
    for old in prefix.iterdir():
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink()
    for file in [*template.glob("*.reg"), template / ".update-timestamp"]:
        shutil.copy2(file, prefix / file.name)
    drive, devices = prefix / "drive_c", prefix / "dosdevices"
    drive.mkdir()
    devices.mkdir()
    (devices / "c:").symlink_to("../drive_c")
    (devices / "z:").symlink_to("/")
    for folder in (template / "drive_c").iterdir():
        if folder.name in _OWN_FOLDERS:
            shutil.copytree(folder, drive / folder.name, symlinks=True)
        else:
            (drive / folder.name).symlink_to(folder)
    (drive / "mt5").symlink_to(places.PORTABLE)
    stamp.write_text(made_from, encoding="utf-8")
    return prefix


def wine_environment() -> dict[str, str]:
    """For programs of this terminal's prefix."""
    application = str(places.IMAGE / "app")
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        **environment(places.PREFIX),
        "PYTHONPATH": windows_path(Path(application)),
        "DISPLAY": places.DISPLAY,
        "HOME": "/tmp",  # noqa: S108 - the container's own
        "USER": "mt5",
        "TZ": "UTC",
    }
