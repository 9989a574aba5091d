"""How the node is, as plain figures: what those who run it want to be woken for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from node_agent.call_times import Times
from node_agent.gateway.figures import GatewayFigures
from node_agent.protocol.messages import Phase


@dataclass(frozen=True)
class NodeFigures:
    """Of this moment, or counted since the agent was started. Times in seconds, sizes in bytes; None: not known."""

    phases: Mapping[Phase, int]
    exits: Mapping[str, int]
    """Processes of the node that have ended by themselves, by their role."""
    spooled: int | None
    spool_age: float | None
    """Of the oldest event that waits; 0 when none does."""
    sync_age: float
    """Since the last sync that was answered was sent; since the agent's start as long as none was."""
    lease_left: float | None
    """Until the control plane will count the node as silent; negative once it does."""
    gateway_up: bool
    watchdog_up: bool
    short_of: frozenset[str]
    memory_available: int
    disk_free: int
    load: float
    """Of the last minute, for each processor."""
    clock_offset: float | None
    """Of this clock from the control plane's."""
    calls: Times
    gateway: GatewayFigures | None


def by_phase(phases: Iterable[Phase]) -> dict[Phase, int]:
    """Every phase, also those that no terminal is in: an alarm must see the zero."""
    counted = Counter(phases)
    return {phase: counted[phase] for phase in Phase}
