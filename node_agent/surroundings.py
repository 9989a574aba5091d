"""What the supervisor needs of the rest of the agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from node_agent.clock import Clock
from node_agent.pressure import Shortage
from node_agent.process import Slot
from node_agent.roster import Exit


class Keeper(Protocol):
    """Keeps one process that serves the whole node."""

    def note_exit(self, ended: Exit) -> None: ...
    def tick(self) -> None: ...


@dataclass(frozen=True)
class Surroundings:
    """Looked up at each tick."""

    keepers: Mapping[Slot, Keeper]
    clock: Clock
    dated: Callable[[float], datetime]
    """From that clock to what people read."""
    lease_over: Callable[[], bool]
    """Whether terminals that fence themselves must be ended now."""
    lease_fresh: Callable[[], bool]
    """Whether that cannot come soon."""
    short_of: Callable[[], frozenset[Shortage]]
    changed: Callable[[], None]
    """Something happened that the control plane should hear of at once."""
