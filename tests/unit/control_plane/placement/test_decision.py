"""Placement as rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.placement.board import Board, Placed, Unplaced, place
from control_plane.placement.decision import Candidate, Demand, PoolStrategy, Refusal, Requirement

MIB = 1 << 20
RUNTIMES = ["simulated", "wine_container", "windows_process"]
POOLS, REGIONS, TENANTS = ("default", "fast"), ("", "london"), ("ten_a", "ten_b")
LABELS = [("disk", "ssd"), ("cpu", "new")]
OBSTACLES = [Refusal.OFFLINE, Refusal.IDENTITY, Refusal.CORDONED, Refusal.DRAINING, Refusal.QUARANTINED]
labels = st.frozensets(st.sampled_from(LABELS))
fleets = st.lists(
    st.builds(
        Candidate,
        node_id=st.uuids().map(str),
        name=st.just("node"),
        runtimes=st.frozensets(st.sampled_from(RUNTIMES), min_size=1),
        slots=st.integers(0, 5),
        used=st.integers(0, 6),
        pool=st.sampled_from(POOLS),
        region=st.sampled_from(REGIONS),
        labels=labels,
        dedicated_to=st.sampled_from([None, None, *TENANTS]),
        address=st.sampled_from(["198.51.100.1", "198.51.100.2", "198.51.100.3"]),
        memory=st.none() | st.integers(0, 2048 * MIB),
        obstacle=st.sampled_from([None, None, None, *OBSTACLES, Refusal.PRESSURE]),
    ),
    unique_by=lambda each: each.node_id,
    max_size=8,
)
requirements = st.builds(
    Requirement,
    simulated=st.booleans(),
    tenant_id=st.sampled_from(TENANTS),
    pool=st.sampled_from(POOLS),
    strategy=st.sampled_from(PoolStrategy),
    region=st.sampled_from(REGIONS),
    labels=labels.filter(lambda some: len(some) < 2),
    only_dedicated=st.booleans(),
    terminal_memory=st.none() | st.integers(0, 1024 * MIB),
)
demands = st.builds(
    Demand,
    requirements,
    company=st.just("Broker"),
    shared_addresses=st.frozensets(st.sampled_from(["198.51.100.1", "198.51.100.2"])),
)
ANY_PLACE = Requirement(simulated=True)


def can_take(requirement: Requirement, node: Candidate) -> bool:
    """The rules once more, in the plainest words."""
    wanted = {"simulated"} if requirement.simulated else {"wine_container", "windows_process"}
    runtimes = [each for each in RUNTIMES if each in wanted & node.runtimes]
    return (
        bool(runtimes)
        and node.pool == requirement.pool
        and requirement.region in {"", node.region}
        and requirement.labels <= node.labels
        and node.dedicated_to in {None, requirement.tenant_id}
        and not (requirement.only_dedicated and node.dedicated_to is None)
        and node.obstacle is None
        and node.used < node.slots
        and (node.memory is None or node.memory >= requirement.memory_of(runtimes[0]))
    )


def chosen(answer: Placed | Unplaced, nodes: list[Candidate]) -> Candidate:
    assert isinstance(answer, Placed)
    return next(node for node in nodes if node.node_id == answer.node_id)


@given(fleets, demands)
def test_a_terminal_is_placed_exactly_when_some_node_can_take_it(nodes: list[Candidate], demand: Demand) -> None:
    answer = place(demand, nodes)
    able = [node for node in nodes if can_take(demand.requirement, node)]
    assert isinstance(answer, Placed) == bool(able)
    assert answer.explanation.sentence
    assert answer.explanation.fitting == len(able)
    if isinstance(answer, Placed):
        assert chosen(answer, nodes) in able
        assert answer.runtime in chosen(answer, nodes).runtimes
        assert answer.memory == demand.requirement.memory_of(answer.runtime)


@given(fleets, requirements)
def test_the_strategy_says_which_of_the_nodes_comes_first(nodes: list[Candidate], requirement: Requirement) -> None:
    answer = place(Demand(requirement), nodes)
    if isinstance(answer, Placed):
        able = [node for node in nodes if can_take(requirement, node)]
        own = [node for node in able if node.dedicated_to is not None] or able
        free = [node.free for node in own]
        best = max(free) if requirement.strategy is PoolStrategy.SPREAD else min(free)
        assert chosen(answer, nodes) in own
        assert chosen(answer, nodes).free == best


@given(fleets, demands, st.randoms())
def test_the_order_of_nodes_does_not_matter(nodes: list[Candidate], demand: Demand, random: object) -> None:
    assert place(demand, nodes) == place(demand, nodes[::-1])


@given(fleets, demands, st.data())
def test_more_room_never_leaves_a_terminal_without_a_place(
    nodes: list[Candidate], demand: Demand, data: st.DataObject
) -> None:
    roomier = [replace(node, slots=node.slots + data.draw(st.integers(0, 2))) for node in nodes]
    more = [*roomier, *data.draw(fleets)]
    if isinstance(place(demand, nodes), Placed):
        assert isinstance(place(demand, more), Placed)


@given(fleets, demands)
def test_a_node_that_is_not_chosen_is_not_missed(nodes: list[Candidate], demand: Demand) -> None:
    answer = place(demand, nodes)
    if isinstance(answer, Placed):
        alone = place(demand, [chosen(answer, nodes)])
        assert isinstance(alone, Placed)
        assert alone.node_id == answer.node_id


@given(fleets, st.lists(demands, max_size=20))
def test_one_after_the_other_is_the_same_as_each_by_itself(nodes: list[Candidate], wishes: list[Demand]) -> None:
    """The board remembers what it has judged; it must come to what one who judges everything anew comes to."""
    board, fresh = Board(nodes), {node.node_id: node for node in nodes}
    for demand in wishes:
        answer = board.place(demand)
        assert answer == place(demand, list(fresh.values()))
        if isinstance(answer, Placed):
            board.take(answer)
            fresh[answer.node_id] = fresh[answer.node_id].with_one_more(answer.memory)
    for before, after in zip(nodes, fresh.values(), strict=True):
        assert after.used <= max(before.used, before.slots)
        if after.used > before.used:
            assert after.obstacle is None
            assert after.memory is None or after.memory >= 0


@given(fleets, demands, st.data())
def test_the_node_it_was_moved_away_from_is_the_last_resort(
    nodes: list[Candidate], demand: Demand, data: st.DataObject
) -> None:
    avoided = data.draw(st.sampled_from([node.node_id for node in nodes] or ["none"]))
    answer = place(replace(demand, avoid_node_id=avoided), nodes)
    able = {node.node_id for node in nodes if can_take(demand.requirement, node)}
    if isinstance(answer, Placed) and answer.node_id == avoided:
        assert able == {avoided}


@given(fleets, demands)
def test_an_address_that_others_use_is_taken_only_where_no_other_fits(nodes: list[Candidate], demand: Demand) -> None:
    answer = place(demand, nodes)
    if isinstance(answer, Placed):
        able = [node for node in nodes if can_take(demand.requirement, node)]
        own = [node for node in able if node.dedicated_to is not None] or able
        shared = chosen(answer, nodes).address in demand.shared_addresses
        assert shared == all(node.address in demand.shared_addresses for node in own)
        assert bool(answer.explanation.warning) == shared


@given(fleets, demands)
def test_every_node_is_accounted_for_with_its_reason(nodes: list[Candidate], demand: Demand) -> None:
    explained = place(demand, nodes).explanation
    assert explained.fitting + sum(explained.refused.values()) == len(nodes)
    assert {each.node_id for each in explained.nodes} == {node.node_id for node in nodes}
    for each in explained.nodes:
        fits = can_take(demand.requirement, next(node for node in nodes if node.node_id == each.node_id))
        assert (each.verdict in {"chosen", "fits"}) == fits


def test_of_a_large_fleet_only_the_best_and_the_nearest_are_kept_by_name() -> None:
    nodes = [Candidate(f"nod_{number:04}", "n", frozenset({"simulated"}), 4, number % 5) for number in range(1000)]
    explained = place(Demand(ANY_PLACE), nodes).explanation
    assert [each.node_id for each in explained.nodes[:3]] == ["nod_0000", "nod_0005", "nod_0010"]
    assert len(explained.nodes) == 12
    assert explained.refused == {Refusal.FULL: 200}


@pytest.mark.parametrize(
    ("change", "wish", "sentence"),
    [
        ({"runtimes": frozenset({"windows_process"})}, {}, "Waiting for a node that can run this kind of terminal."),
        ({}, {"pool": "fast"}, "Waiting for a node in the pool fast."),
        ({}, {"region": "london"}, "Waiting for a node in the region london."),
        ({}, {"labels": frozenset({("disk", "ssd")})}, "Waiting for a node that has disk=ssd."),
        ({"dedicated_to": "ten_b"}, {}, "Waiting for a node: all fitting ones are kept for others."),
        ({}, {"only_dedicated": True}, "Waiting for one of your own nodes."),
        ({"obstacle": Refusal.OFFLINE}, {}, "Waiting for a node to be heard of again."),
        (
            {"obstacle": Refusal.CORDONED},
            {},
            "Waiting: all fitting nodes are cordoned, draining, quarantined or short of resources.",
        ),
        ({"used": 1}, {}, "Waiting for capacity: all nodes are full."),
        ({"memory": MIB}, {}, "Waiting for capacity: no node has enough memory free."),
    ],
)
def test_a_terminal_that_waits_is_told_why(change: dict[str, Any], wish: dict[str, Any], sentence: str) -> None:
    node = Candidate("nod_1", "a", frozenset({"simulated"}), 1, 0)
    demand = Demand(replace(ANY_PLACE, tenant_id="ten_a", **wish))
    answer = place(demand, [replace(node, **change)])
    assert isinstance(answer, Unplaced)
    assert answer.explanation.sentence == sentence


def test_what_came_nearest_is_told() -> None:
    node = Candidate("nod_1", "a", frozenset({"simulated"}), 1, 1)
    silent = replace(node, node_id="nod_2", obstacle=Refusal.OFFLINE)
    real = replace(node, node_id="nod_3", runtimes=frozenset({"windows_process"}))
    assert place(Demand(ANY_PLACE), []).explanation.sentence == "Waiting for the first node to be enrolled."
    assert "heard of" in place(Demand(ANY_PLACE), [real, silent]).explanation.sentence
    assert "full" in place(Demand(ANY_PLACE), [real, silent, node]).explanation.sentence
