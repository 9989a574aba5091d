"""Faults that another try on this node does not mend: after a few in a row the terminal waits for a person. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from node_agent.protocol.messages import Reason

STRIKES: Final[Mapping[Reason, int]] = {Reason.TEMPLATE_BROKEN: 5, Reason.LIVE_UPDATE: 2}
"""After so many in a row. A full disk or an unreachable broker may mend themselves and are tried again and again."""


@dataclass(frozen=True)
class Strikes:
    """Faults of one kind, one after the other, with one wish."""

    reason: Reason | None = None
    count: int = 0
    wish: str = ""
    """`plan.wish_fingerprint`; what is wished for anew begins with a clean sheet."""

    def after(self, reason: Reason, wish: str) -> Strikes:
        if reason not in STRIKES:
            return self
        same = (reason, wish) == (self.reason, self.wish)
        return Strikes(reason, self.count + 1 if same else 1, wish)

    def verdict(self, wish: str) -> Reason | None:
        """Why the terminal must not be tried again with this wish."""
        if self.reason is None or wish != self.wish:
            return None
        return self.reason if self.count >= STRIKES[self.reason] else None


NO_STRIKES = Strikes()
