"""Why a terminal is where it is, or why it waits: a sentence for its owner, nodes and reasons for operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from control_plane.placement.decision import NEARNESS, Candidate, Demand, PoolStrategy, Refusal, Requirement

NODES_KEPT = 12
"""Nodes that are kept by name with an assignment; of all others their number by reason."""
CHOSEN, FITS = "chosen", "fits"

_WAITS: dict[Refusal, str] = {
    Refusal.RUNTIME: "Waiting for a node that can run this kind of terminal.",
    Refusal.POOL: "Waiting for a node in the pool {pool}.",
    Refusal.REGION: "Waiting for a node in the region {region}.",
    Refusal.LABELS: "Waiting for a node that has {labels}.",
    Refusal.DEDICATED: "Waiting for a node: all fitting ones are kept for others.",
    Refusal.SHARED: "Waiting for one of your own nodes.",
    Refusal.OFFLINE: "Waiting for a node to be heard of again.",
    Refusal.IDENTITY: "Waiting for a node to be heard of again.",
    Refusal.FULL: "Waiting for capacity: all nodes are full.",
    Refusal.MEMORY: "Waiting for capacity: no node has enough memory free.",
}
_KEPT_CLOSED = "Waiting: all fitting nodes are cordoned, draining, quarantined or short of resources."


class NodeVerdict(NamedTuple):
    """What was said of one node."""

    node_id: str
    name: str
    verdict: str
    """`chosen`, `fits`, or a `Refusal`."""
    free: int
    """Free slots."""


@dataclass(frozen=True)
class Explanation:
    """Of one decision. Kept with the assignment."""

    sentence: str
    """In words for the account's owner."""
    warning: str
    """What is not as it should be with the chosen node; mostly empty."""
    pool: str
    strategy: PoolStrategy
    fitting: int
    """How many nodes could have taken it."""
    refused: Mapping[Refusal, int]
    """How many could not, by reason."""
    nodes: tuple[NodeVerdict, ...]
    """The best and the nearest of them, at most `NODES_KEPT`."""

    def as_json(self) -> dict[str, Any]:
        return {
            "sentence": self.sentence,
            "warning": self.warning,
            "pool": self.pool,
            "strategy": self.strategy,
            "fitting": self.fitting,
            "refused": dict(self.refused),
            "nodes": [each._asdict() for each in self.nodes],
        }


def placed_sentence(demand: Demand, chosen: Candidate, fitting: int) -> str:
    room = f"{chosen.free} of {chosen.slots} slots were free"
    if fitting == 1:
        return f"Placed on {chosen.name}: {room}; no other node fits."
    if chosen.dedicated_to is not None:
        return f"Placed on {chosen.name}, which is kept for you: {room}."
    best = "the most" if demand.requirement.strategy is PoolStrategy.SPREAD else "the fewest"
    if demand.shared_addresses or demand.avoid_node_id is not None:
        return f"Placed on {chosen.name}: {room}; the best of {fitting} fitting nodes."
    return f"Placed on {chosen.name}: {room}, {best} of {fitting} fitting nodes."


def shared_address_warning(demand: Demand) -> str:
    return (
        f"Accounts of other traders reach {demand.company} from the same internet address, "
        "since no fitting node has another one."
    )


def unplaced_sentence(requirement: Requirement, refused: Mapping[Refusal, int]) -> str:
    """What the node that came nearest is short of."""
    reasons = [refusal for refusal, count in refused.items() if count]
    if not reasons:
        return "Waiting for the first node to be enrolled."
    nearest = max(reasons, key=NEARNESS.__getitem__)
    labels = ", ".join(f"{name}={value}" for name, value in sorted(requirement.labels))
    text = _WAITS.get(nearest, _KEPT_CLOSED)
    return text.format(pool=requirement.pool, region=requirement.region, labels=labels)
