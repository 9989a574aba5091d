"""Which terminal to start anew because it has grown. Pure. Only a flat one: nothing of it is at risk meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict


class RecyclePolicy(BaseModel):
    """Bytes and seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    growth: float = 1.5
    """Times what it took when it was young."""
    least: int = 128 * 1024 * 1024
    """It must have grown by so much at least, so that there is something to gain."""
    ceiling: int = 2 * 1024 * 1024 * 1024
    """A grown terminal above this is recycled although the node has room."""
    young: float = 300.0
    """So long after its start a terminal's memory is what it needs, and not what it has grown to."""
    read_every: float = 30.0
    """How often memory is read; asking a container engine takes a second for each terminal."""
    node_pause: float = 60.0
    """Between two on one node, to see what the first has brought."""
    terminal_pause: float = 3600.0


@dataclass(frozen=True)
class Growth:
    """Memory of one terminal process, read now and then."""

    terminal_id: str
    pid: int
    started_at: float
    baseline: int
    now: int

    def read_again(self, memory: int, at: float, policy: RecyclePolicy) -> Growth:
        """While it is young, what it takes is what it needs."""
        young = at - self.started_at < policy.young
        return replace(self, now=memory, baseline=max(self.baseline, memory) if young else min(self.baseline, memory))

    def has_grown(self, policy: RecyclePolicy) -> bool:
        return self.now > self.baseline * policy.growth and self.now - self.baseline >= policy.least


@dataclass(frozen=True)
class Candidate:
    growth: Growth
    flat: bool | None
    """As the last look at the account knew."""
    recycled_at: float | None


def choose(candidates: Iterable[Candidate], *, short_of_memory: bool, now: float, policy: RecyclePolicy) -> str | None:
    """Id of the terminal to recycle now. None when there is none, or when the last one was only just."""
    known = list(candidates)
    recent = [each.recycled_at for each in known if each.recycled_at is not None]
    if recent and now - max(recent) < policy.node_pause:
        return None
    fit = [each.growth for each in known if _is_fit(each, short_of_memory, now, policy)]
    return max(fit, key=lambda each: each.now).terminal_id if fit else None


def _is_fit(candidate: Candidate, short_of_memory: bool, now: float, policy: RecyclePolicy) -> bool:
    growth = candidate.growth
    if candidate.flat is not True or not growth.has_grown(policy):
        return False
    if candidate.recycled_at is not None and now - candidate.recycled_at < policy.terminal_pause:
        return False
    return short_of_memory or growth.now > policy.ceiling
