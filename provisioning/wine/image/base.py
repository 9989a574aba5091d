"""A Debian base image made on this machine, where no image registry can be reached."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from provisioning.wine.tools import Report, WineError, program, run

_MIRROR: Final = "http://deb.debian.org/debian"


def import_base(name: str, report: Report) -> None:
    """Make Debian 12 with debootstrap and import it under this name, unless it is there. Raises WineError."""
    if run("Looking for the base image", ["docker", "images", "--quiet", name]).strip():
        return
    if os.geteuid() != 0:
        raise WineError("Making a base image needs root; pull one, or name yours with --base.")
    report(f"Making {name} with debootstrap (40 s) ...")
    with tempfile.TemporaryDirectory(prefix="mt5farm-base-") as folder:
        root, archive = Path(folder) / "root", Path(folder) / "root.tar"
        run(
            "debootstrap",
            [program("debootstrap"), "--variant=minbase", "--include=ca-certificates", "bookworm", root, _MIRROR],
        )
        run("Packing the base image", ["tar", "-C", root, "-cf", archive, "."])
        run("Importing the base image", ["docker", "import", archive, name])
