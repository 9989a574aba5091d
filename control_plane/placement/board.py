"""Places one terminal after the other on the same nodes. Pure, and quick where many terminals need the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest

from control_plane.placement.decision import (
    NEARNESS,
    Candidate,
    Demand,
    Rank,
    Refusal,
    Requirement,
    judge,
    runtime_for,
)
from control_plane.placement.explanation import (
    CHOSEN,
    FITS,
    NODES_KEPT,
    Explanation,
    NodeVerdict,
    placed_sentence,
    shared_address_warning,
    unplaced_sentence,
)


@dataclass(frozen=True)
class Placed:
    node_id: str
    runtime: str
    memory: int
    """Bytes to reserve."""
    explanation: Explanation


@dataclass(frozen=True)
class Unplaced:
    explanation: Explanation


@dataclass
class _View:
    """All nodes as one requirement sees them."""

    ranks: dict[str, Rank] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    counts: Counter[Refusal] = field(default_factory=Counter)
    _nearest: list[NodeVerdict] = field(default_factory=list)

    def put(self, node_id: str, verdict: Refusal | Rank) -> None:
        former = self.refusals.pop(node_id, None)
        if former is not None:
            self.counts[former] -= 1
            self._nearest = []
        self.ranks.pop(node_id, None)
        if isinstance(verdict, Rank):
            self.ranks[node_id] = verdict
        else:
            self.refusals[node_id] = verdict
            self.counts[verdict] += 1
            self._nearest = []

    def nearest(self, tell: Callable[[str, str], NodeVerdict], most: int) -> list[NodeVerdict]:
        """Of those that cannot take it, the ones that came nearest."""
        wanted = min(most, len(self.refusals))
        if len(self._nearest) < wanted:
            found = nsmallest(wanted, self.refusals.items(), key=_distance)
            self._nearest = [tell(node_id, refusal) for node_id, refusal in found]
        return self._nearest


class Board:
    """The nodes, and what has been given away of them so far."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._candidates = {each.node_id: each for each in candidates}
        self._views: dict[Requirement, _View] = {}

    def place(self, demand: Demand) -> Placed | Unplaced:
        """The best fitting node. Takes nothing from it: see `take`."""
        view = self._view(demand.requirement)
        best = self._best(demand, view)
        if best is None:
            return Unplaced(self._explain_refusals(demand, view))
        chosen = self._candidates[best.node_id]
        runtime = runtime_for(demand.requirement, chosen)
        assert runtime is not None, "a node without one has no rank"
        memory = demand.requirement.memory_of(runtime)
        return Placed(chosen.node_id, runtime, memory, self._explain_choice(demand, view, chosen))

    def take(self, placed: Placed) -> None:
        """The terminal has its place there now."""
        taken = self._candidates[placed.node_id].with_one_more(placed.memory)
        self._candidates[placed.node_id] = taken
        for requirement, view in self._views.items():
            view.put(taken.node_id, judge(requirement, taken))

    def still_fits(self, demand: Demand, node_id: str) -> bool:
        """Whether the node can take the terminal, best or not."""
        candidate = self._candidates.get(node_id)
        return candidate is not None and isinstance(judge(demand.requirement, candidate), Rank)

    def address_of(self, node_id: str) -> str:
        return self._candidates[node_id].address

    def verdicts(self, demand: Demand) -> list[NodeVerdict]:
        """What is said of every node, the best first, the furthest from fitting last."""
        view = self._view(demand.requirement)
        return self._verdicts(view, len(self._candidates))

    def _view(self, requirement: Requirement) -> _View:
        view = self._views.get(requirement)
        if view is None:
            view = self._views[requirement] = _View()
            for candidate in self._candidates.values():
                view.put(candidate.node_id, judge(requirement, candidate))
        return view

    def _best(self, demand: Demand, view: _View) -> Rank | None:
        """The node it was moved away from comes last of all; one's own nodes come before an address of one's own."""
        ranks = list(view.ranks.values())
        if demand.avoid_node_id in view.ranks and len(ranks) > 1:
            ranks = [each for each in ranks if each.node_id != demand.avoid_node_id]
        if not ranks or not demand.shared_addresses:
            return min(ranks, default=None)
        own = min(ranks).shared
        clean = [each for each in ranks if each.shared == own and not self._is_crowded(demand, each.node_id)]
        return min(clean or ranks)

    def _is_crowded(self, demand: Demand, node_id: str) -> bool:
        return self._candidates[node_id].address in demand.shared_addresses

    def _explain_choice(self, demand: Demand, view: _View, chosen: Candidate) -> Explanation:
        crowded = self._is_crowded(demand, chosen.node_id)
        return self._explanation(
            demand,
            view,
            placed_sentence(demand, chosen, len(view.ranks)),
            warning=shared_address_warning(demand) if crowded else "",
            chosen=chosen.node_id,
        )

    def _explain_refusals(self, demand: Demand, view: _View) -> Explanation:
        return self._explanation(demand, view, unplaced_sentence(demand.requirement, view.counts))

    def _explanation(
        self, demand: Demand, view: _View, sentence: str, *, warning: str = "", chosen: str = ""
    ) -> Explanation:
        return Explanation(
            sentence=sentence,
            warning=warning,
            pool=demand.requirement.pool,
            strategy=demand.requirement.strategy,
            fitting=len(view.ranks),
            refused={each: count for each, count in sorted(view.counts.items()) if count},
            nodes=tuple(self._verdicts(view, NODES_KEPT, chosen)),
        )

    def _verdicts(self, view: _View, most: int, chosen: str = "") -> list[NodeVerdict]:
        """At most so many: the chosen one, then the best of the others that fit, then those that came nearest."""
        told = [self._verdict(chosen, CHOSEN)] if chosen else []
        others = (each for each in view.ranks.values() if each.node_id != chosen)
        told += [self._verdict(each.node_id, FITS) for each in nsmallest(most - len(told), others)]
        return told + view.nearest(self._verdict, most)[: most - len(told)]

    def _verdict(self, node_id: str, verdict: str) -> NodeVerdict:
        candidate = self._candidates[node_id]
        return NodeVerdict(node_id, candidate.name, verdict, max(0, candidate.free))


def place(demand: Demand, candidates: Sequence[Candidate]) -> Placed | Unplaced:
    """The best fitting node for one terminal."""
    return Board(candidates).place(demand)


def _distance(refused: tuple[str, Refusal]) -> tuple[int, str]:
    node_id, refusal = refused
    return -NEARNESS[refusal], node_id
