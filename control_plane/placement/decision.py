"""Choose a node for a terminal. Pure: same question, same answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SIMULATED_RUNTIME = "simulated"
_REAL_RUNTIMES = ("wine_container", "windows_process")


@dataclass(frozen=True)
class Candidate:
    """A node as placement sees it."""

    node_id: str
    name: str
    online: bool
    runtimes: frozenset[str]
    slots: int
    used: int
    """Slots that are reserved, and what still runs there without a reservation."""
    accepting: bool = True
    """Operators let it take new terminals, and it is short of nothing that they need."""

    @property
    def free(self) -> int:
        return self.slots - self.used


@dataclass(frozen=True)
class Demand:
    """What a terminal needs."""

    simulated: bool
    """The broker is a simulated one, so the terminal must be, too."""
    avoid_node_id: str | None = None
    """The node that it has just been moved away from: taken only when no other can."""
    prefer_node_id: str | None = None
    """The node that somebody chose for it: taken when it can."""


@dataclass(frozen=True)
class Placed:
    node_id: str
    runtime: str
    explanation: str


@dataclass(frozen=True)
class Unplaced:
    explanation: str


def place(demand: Demand, candidates: Sequence[Candidate]) -> Placed | Unplaced:
    """The fitting node with the most free slots; of equals the one with the lowest id."""
    if not candidates:
        return Unplaced("Waiting for the first node to be enrolled.")
    fitting = [(candidate, runtime) for candidate in candidates if (runtime := _runtime(demand, candidate))]
    if not fitting:
        return Unplaced("Waiting for a node that can run this kind of terminal.")
    online = [(candidate, runtime) for candidate, runtime in fitting if candidate.online]
    if not online:
        return Unplaced("Waiting for a node to be heard of again.")
    accepting = [(candidate, runtime) for candidate, runtime in online if candidate.accepting]
    if not accepting:
        return Unplaced("Waiting: all fitting nodes are cordoned, draining, quarantined or short of resources.")
    free = [(candidate, runtime) for candidate, runtime in accepting if candidate.free > 0]
    if not free:
        return Unplaced("Waiting for capacity: all nodes are full.")
    chosen, runtime = min(free, key=lambda each: _preference(demand, each[0]))
    return Placed(chosen.node_id, runtime, f"Placed on {chosen.name}: {chosen.free} of {chosen.slots} slots were free.")


def _preference(demand: Demand, candidate: Candidate) -> tuple[bool, bool, int, str]:
    chosen, avoided = candidate.node_id == demand.prefer_node_id, candidate.node_id == demand.avoid_node_id
    return not chosen, avoided, -candidate.free, candidate.node_id


def _runtime(demand: Demand, candidate: Candidate) -> str | None:
    wanted = (SIMULATED_RUNTIME,) if demand.simulated else _REAL_RUNTIMES
    return next((runtime for runtime in wanted if runtime in candidate.runtimes), None)
