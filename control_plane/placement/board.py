"""Places one terminal after the other on the same nodes. Pure, and quick where many terminals need the same."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import takewhile

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
    """All nodes as one requirement sees them, kept in order so that nobody has to sort them for each terminal."""

    verdicts: dict[str, Refusal | Rank] = field(default_factory=dict)
    ranks: list[Rank] = field(default_factory=list)
    """Of those that fit, the best first."""
    counts: Counter[Refusal] = field(default_factory=Counter)
    _nearest: list[str] = field(default_factory=list)

    def put(self, node_id: str, verdict: Refusal | Rank) -> None:
        former = self.verdicts.get(node_id)
        if former == verdict:
            return
        if isinstance(former, Rank):
            del self.ranks[bisect_left(self.ranks, former)]
        elif former is not None:
            self.counts[former] -= 1
            self._nearest = []
        self.verdicts[node_id] = verdict
        if isinstance(verdict, Rank):
            insort(self.ranks, verdict)
        else:
            self.counts[verdict] += 1
            self._nearest = []

    def nearest(self, most: int) -> list[str]:
        """Of those that cannot take it, the ones that came nearest."""
        wanted = min(most, len(self.verdicts) - len(self.ranks))
        if len(self._nearest) < wanted:
            refused = (each for each in self.verdicts.items() if not isinstance(each[1], Rank))
            self._nearest = [node_id for node_id, _ in nsmallest(wanted, refused, key=_distance)]
        return self._nearest[:wanted]


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
        """The node that somebody chose comes first of all, the one it was moved away from last; one's own nodes come
        before an address of one's own.
        """
        ranks = view.ranks
        chosen = next((each for each in ranks if each.node_id == demand.prefer_node_id), None)
        if chosen is not None:
            return chosen
        if demand.avoid_node_id is not None and len(ranks) > 1:
            ranks = [each for each in ranks if each.node_id != demand.avoid_node_id]
        if not ranks:
            return None
        alike = takewhile(lambda each: each.shared == ranks[0].shared, ranks)
        return next((each for each in alike if not self._is_crowded(demand, each.node_id)), ranks[0])

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
        others = [each.node_id for each in view.ranks[:most] if each.node_id != chosen]
        told = [self._verdict(view, chosen)._replace(verdict=CHOSEN)] if chosen else []
        told += [self._verdict(view, each) for each in others[: most - len(told)]]
        return told + [self._verdict(view, each) for each in view.nearest(most - len(told))]

    def _verdict(self, view: _View, node_id: str) -> NodeVerdict:
        candidate, verdict = self._candidates[node_id], view.verdicts[node_id]
        told = FITS if isinstance(verdict, Rank) else verdict
        return NodeVerdict(node_id, candidate.name, told, max(0, candidate.free))


def place(demand: Demand, candidates: Sequence[Candidate]) -> Placed | Unplaced:
    """The best fitting node for one terminal."""
    return Board(candidates).place(demand)


def _distance(judged: tuple[str, Refusal | Rank]) -> tuple[int, str]:
    node_id, verdict = judged
    return (1 if isinstance(verdict, Rank) else -NEARNESS[verdict]), node_id
