"""Whether a node can take a terminal, and how gladly. Pure: same question, same answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

SIMULATED_RUNTIME = "simulated"
REAL_RUNTIMES = ("wine_container", "windows_process")
_MIB = 1 << 20
EXPECTED_MEMORY: Mapping[str, int] = MappingProxyType(
    {SIMULATED_RUNTIME: 128 * _MIB, "wine_container": 768 * _MIB, "windows_process": 640 * _MIB}
)
"""Bytes that a terminal with its bridge worker is expected to take, unless its pool says otherwise."""


class PoolStrategy(StrEnum):
    """Which of a pool's nodes comes first."""

    SPREAD = "spread"
    """The one with the most free slots, so that a lost node takes few terminals with it."""
    PACK = "pack"
    """The one with the fewest, so that whole nodes stay empty and can be given back."""


class Refusal(StrEnum):
    """Why a node cannot take a terminal, from what never changes by itself to what changes every minute."""

    RUNTIME = "runtime"
    POOL = "pool"
    REGION = "region"
    LABELS = "labels"
    DEDICATED = "dedicated"
    """Kept for another tenant."""
    SHARED = "shared"
    """Not kept for the tenant, which wants to be on its own nodes only."""
    OFFLINE = "offline"
    IDENTITY = "identity"
    """Its identity is locked or revoked."""
    CORDONED = "cordoned"
    DRAINING = "draining"
    QUARANTINED = "quarantined"
    PRESSURE = "pressure"
    """It reports that it is short of memory or disk, and starts nothing."""
    FULL = "full"
    MEMORY = "memory"
    """Less is free than the terminal is expected to take."""


NEARNESS = {refusal: number for number, refusal in enumerate(Refusal)}
"""The higher, the nearer a node came to taking the terminal."""


@dataclass(frozen=True)
class Candidate:
    """A node as placement sees it."""

    node_id: str
    name: str
    runtimes: frozenset[str]
    slots: int
    used: int
    """Slots that are reserved, and what still runs there without a reservation."""
    pool: str = "default"
    region: str = ""
    labels: frozenset[tuple[str, str]] = frozenset()
    dedicated_to: str | None = None
    """The only tenant whose terminals may be there."""
    address: str = ""
    """From which its terminals reach their brokers, as far as it is known; nodes behind one router share it."""
    memory: int | None = None
    """Bytes that may still be reserved; None as long as the node has not reported any."""
    obstacle: Refusal | None = None
    """Why it takes nothing at all at present."""

    @property
    def free(self) -> int:
        return self.slots - self.used

    def with_one_more(self, memory: int) -> Candidate:
        """The same node once a terminal that is expected to take so many bytes has its place there."""
        left = None if self.memory is None else self.memory - memory
        return replace(self, used=self.used + 1, memory=left)


@dataclass(frozen=True)
class Requirement:
    """What a node must be for a terminal. Many terminals have the same one."""

    simulated: bool
    """The broker is a simulated one, so the terminal must be, too."""
    tenant_id: str = ""
    pool: str = "default"
    strategy: PoolStrategy = PoolStrategy.SPREAD
    region: str = ""
    """Empty: any."""
    labels: frozenset[tuple[str, str]] = frozenset()
    """The node must have all of them."""
    only_dedicated: bool = False
    """Only on nodes that are kept for the tenant."""
    terminal_memory: int | None = None
    """Bytes, as the pool says; None: as usual for the runtime."""

    def memory_of(self, runtime: str) -> int:
        """Bytes to reserve."""
        return EXPECTED_MEMORY.get(runtime, 0) if self.terminal_memory is None else self.terminal_memory


@dataclass(frozen=True)
class Demand:
    """What one terminal needs, and what would be better for it."""

    requirement: Requirement
    avoid_node_id: str | None = None
    """The node that it has just been moved away from: taken only when no other can."""
    prefer_node_id: str | None = None
    """The node that somebody chose for it: taken when it can."""
    company: str = ""
    """The real broker whom its account is with; empty for a simulated one."""
    shared_addresses: frozenset[str] = frozenset()
    """From these other traders' accounts reach the same broker already. Brokers suspect one owner behind them."""


class Rank(NamedTuple):
    """How gladly a node is taken: the lowest first."""

    shared: bool
    """Nodes that are kept for the tenant come first; it pays for them."""
    load: int
    node_id: str


def judge(requirement: Requirement, candidate: Candidate) -> Refusal | Rank:
    runtime = runtime_for(requirement, candidate)
    if runtime is None:
        return Refusal.RUNTIME
    refusal = _mismatch(requirement, candidate) or candidate.obstacle
    if refusal is not None:
        return refusal
    if candidate.free <= 0:
        return Refusal.FULL
    if candidate.memory is not None and candidate.memory < requirement.memory_of(runtime):
        return Refusal.MEMORY
    load = candidate.free if requirement.strategy is PoolStrategy.PACK else -candidate.free
    return Rank(candidate.dedicated_to is None, load, candidate.node_id)


def runtime_for(requirement: Requirement, candidate: Candidate) -> str | None:
    """How the terminal would run there; None when it cannot."""
    wanted = (SIMULATED_RUNTIME,) if requirement.simulated else REAL_RUNTIMES
    return next((runtime for runtime in wanted if runtime in candidate.runtimes), None)


def _mismatch(requirement: Requirement, candidate: Candidate) -> Refusal | None:
    if candidate.pool != requirement.pool:
        return Refusal.POOL
    if requirement.region and candidate.region != requirement.region:
        return Refusal.REGION
    if not requirement.labels <= candidate.labels:
        return Refusal.LABELS
    if candidate.dedicated_to is not None and candidate.dedicated_to != requirement.tenant_id:
        return Refusal.DEDICATED
    if requirement.only_dedicated and candidate.dedicated_to is None:
        return Refusal.SHARED
    return None
