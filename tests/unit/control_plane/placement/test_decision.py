"""Placement as rules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control_plane.placement.decision import Candidate, Demand, Placed, Unplaced, place

RUNTIMES = ["simulated", "wine_container", "windows_process"]
candidates = st.lists(
    st.builds(
        Candidate,
        node_id=st.uuids().map(str),
        name=st.just("node"),
        online=st.booleans(),
        runtimes=st.frozensets(st.sampled_from(RUNTIMES)),
        slots=st.integers(0, 5),
        used=st.integers(0, 6),
        accepting=st.booleans(),
    ),
    unique_by=lambda each: each.node_id,
    max_size=6,
)


def can_take(candidate: Candidate, simulated: bool) -> bool:
    wanted = {"simulated"} if simulated else {"wine_container", "windows_process"}
    return candidate.online and candidate.accepting and candidate.free > 0 and bool(candidate.runtimes & wanted)


@given(candidates, st.booleans())
def test_a_terminal_is_placed_exactly_when_some_node_can_take_it(nodes: list[Candidate], simulated: bool) -> None:
    answer = place(Demand(simulated), nodes)
    assert isinstance(answer, Placed) == any(can_take(node, simulated) for node in nodes)
    assert answer.explanation


@given(candidates, st.booleans())
def test_it_goes_to_the_node_with_the_most_free_slots(nodes: list[Candidate], simulated: bool) -> None:
    answer = place(Demand(simulated), nodes)
    if isinstance(answer, Placed):
        chosen = next(node for node in nodes if node.node_id == answer.node_id)
        assert can_take(chosen, simulated)
        assert answer.runtime in chosen.runtimes
        assert (answer.runtime == "simulated") == simulated
        assert chosen.free == max(node.free for node in nodes if can_take(node, simulated))


@given(candidates, st.booleans(), st.randoms())
def test_the_order_of_nodes_does_not_matter(nodes: list[Candidate], simulated: bool, random: object) -> None:
    assert place(Demand(simulated), nodes) == place(Demand(simulated), nodes[::-1])


def test_a_terminal_that_waits_is_told_why() -> None:
    full = Candidate("nod_1", "a", True, frozenset({"simulated"}), 1, 1)
    silent = Candidate("nod_2", "b", False, frozenset({"simulated"}), 1, 0)
    real = Candidate("nod_3", "c", True, frozenset({"windows_process"}), 1, 0)
    cordoned = Candidate("nod_4", "d", True, frozenset({"simulated"}), 1, 0, accepting=False)
    demand = Demand(simulated=True)
    assert place(demand, []) == Unplaced("Waiting for the first node to be enrolled.")
    assert place(demand, [real]) == Unplaced("Waiting for a node that can run this kind of terminal.")
    assert place(demand, [silent]) == Unplaced("Waiting for a node to be heard of again.")
    assert place(demand, [cordoned, silent]) == Unplaced(
        "Waiting for a node that takes new terminals: all are cordoned, draining or quarantined."
    )
    assert place(demand, [full, silent, cordoned]) == Unplaced("Waiting for capacity: all nodes are full.")


@given(candidates, st.booleans(), st.data())
def test_the_node_it_was_moved_away_from_is_the_last_resort(
    nodes: list[Candidate], simulated: bool, data: st.DataObject
) -> None:
    avoided = data.draw(st.sampled_from([node.node_id for node in nodes] or ["none"]))
    answer = place(Demand(simulated, avoid_node_id=avoided), nodes)
    able = {node.node_id for node in nodes if can_take(node, simulated)}
    if isinstance(answer, Placed) and answer.node_id == avoided:
        assert able == {avoided}
