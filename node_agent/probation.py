"""What an agent may do after its machine was started anew, before it has been heard for a while. Pure.

A machine that starts may have been declared dead meanwhile, may have lost its newest writes with its power, or may be a
copy of a node that runs elsewhere. What lies on its disk is therefore no reason to start a terminal: it asks first. A
copy is answered as well at first; it is found out at the next sync of the original, so it waits until that must have
come. Nothing runs on such a machine yet, so nothing is stopped by the waiting.
"""

from __future__ import annotations

from mt5_bridge.lease import Moment, age


class Probation:
    """`needed` says that the disk was used in another start of the machine."""

    def __init__(self, needed: bool) -> None:
        self._needed = needed
        self._first: Moment | None = None

    def is_over(self, sent_at: Moment, seconds: float) -> bool:
        """To be asked with each answered sync, by when it was sent; over once the first is `seconds` ago."""
        if not self._needed:
            return True
        if self._first is None:
            self._first = sent_at
        self._needed = age(self._first, sent_at) < seconds
        return not self._needed
