"""The token by which the control plane tells this node from a copy of it: each answered sync brings a new one.

It is on the disk for good before it is shown: a token lost with the machine's power would make this node look like a
copy of itself.
"""

from __future__ import annotations

import os

from node_agent.files import write_atomically
from node_agent.layout import DataLayout

_LONGEST = 200


def read_continuity(layout: DataLayout) -> str:
    """Empty when there is none; the control plane decides what that means."""
    try:
        return layout.continuity.read_text()[:_LONGEST]
    except (OSError, UnicodeDecodeError):
        return ""


def write_continuity(layout: DataLayout, token: str) -> None:
    """Raises OSError."""
    write_atomically(layout.continuity, token.encode())
    if os.name == "posix":
        # The file's content is flushed by then, the folder's entry for it is not.
        folder = os.open(layout.root, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
