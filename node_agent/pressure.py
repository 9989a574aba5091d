"""What a node is short of. Pure. While it is short of memory or disk it starts no terminal that does not run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from node_agent.resources import Resources

Shortage = Literal["memory", "disk", "clock"]
_RELIEF: Final = 1.25
"""A shortage is over only with so much more than it began with, so that it does not come and go."""


class Reserves(BaseModel):
    """What must stay free, for what runs already and grows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_share: float = 0.06
    """Of the machine's memory."""
    memory: int = 256 * 1024 * 1024
    """Bytes, on small machines."""
    disk: int = 512 * 1024 * 1024
    clock: float = 2.0
    """Seconds by which the node's wall clock may differ from the control plane's."""


@dataclass(frozen=True)
class Headroom:
    """What was read last, and what it means."""

    resources: Resources
    short_of: frozenset[Shortage]


def judge_headroom(
    resources: Resources, clock_offset: float | None, before: frozenset[Shortage], reserves: Reserves
) -> Headroom:
    """`clock_offset` in seconds; None when it is not known."""
    wanted = max(reserves.memory, resources.memory_total * reserves.memory_share)
    found: set[Shortage] = set()
    if resources.memory_available < wanted * (_RELIEF if "memory" in before else 1.0):
        found.add("memory")
    if resources.disk_free < reserves.disk * (_RELIEF if "disk" in before else 1.0):
        found.add("disk")
    if clock_offset is not None and abs(clock_offset) > reserves.clock:
        found.add("clock")
    return Headroom(resources, frozenset(found))
