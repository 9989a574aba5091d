"""Puts a file that is written whole in the place of the one that others may be reading."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_TRIES: Final = 50
_SECONDS: Final = 0.02


def put_in_place(draft: Path, target: Path) -> None:
    """Rename over an old file. Windows refuses while somebody reads that one, so there it is tried for a second.

    Raises OSError.
    """
    for _ in range(_TRIES if sys.platform == "win32" else 0):
        with suppress(PermissionError):
            draft.replace(target)
            return
        time.sleep(_SECONDS)
    draft.replace(target)
