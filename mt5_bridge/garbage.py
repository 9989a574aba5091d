"""How often a process that runs for long looks for cycles of objects that nobody holds."""

from __future__ import annotations

import gc
from typing import Final

_NEW_OBJECTS: Final = 50_000
_YOUNG_ROUNDS, _OLD_ROUNDS = 20, 50


def collect_rarely() -> None:
    """Python looks after every 700 new objects, which is more than once for an order or for a report of a node.

    What was made until now stays until the end and is not looked at again. To be called once all is ready.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _YOUNG_ROUNDS, _OLD_ROUNDS)
