"""Where things are inside of a terminal's container. The agent's runtime mounts them there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

IMAGE: Final = Path("/opt/mt5farm")
TESTED: Final = IMAGE / "tested.json"
WINDOWS_PYTHON: Final = IMAGE / "python"
PACKAGES: Final = IMAGE / "packages"
TEMPLATE_PREFIX: Final = IMAGE / "wine" / "prefix"

TERMINAL: Final = Path("/terminal")
"""The terminal's own folder of the node, for reading; the next ones are mounted over it for writing."""
PORTABLE: Final = TERMINAL / "folder"
PREFIX: Final = TERMINAL / "prefix"
WORKER_CONFIG: Final = TERMINAL / "worker.json"
RUN: Final = Path("/run/mt5farm")
"""Sockets and the sign of life."""
SCREEN: Final = RUN / "s"
"""Where the screen is shown, if it is."""
UP: Final = RUN / "up"
"""There once the terminal's program has been started."""

PROGRAM: Final = r"C:\mt5\terminal64.exe"
STARTUP: Final = r"C:\mt5\config\startup.ini"
DISPLAY: Final = ":7"
