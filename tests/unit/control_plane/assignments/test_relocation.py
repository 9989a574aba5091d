"""What proves that a terminal is dead, as rules."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.assignments.relocation import (
    LeasePolicy,
    NodeFacts,
    Proof,
    Unproven,
    fence_due,
    judge_relocation,
)
from control_plane.assignments.state import AssignmentState
from tests.unit.control_plane.world import START

moments = st.none() | st.sampled_from([START - timedelta(microseconds=1), START, START + timedelta(microseconds=1)])
nodes = st.builds(
    NodeFacts,
    lost=st.booleans(),
    locked=st.booleans(),
    watchdog_up=st.booleans(),
    fence_due_at=moments,
    powered_off=st.booleans(),
)


@given(st.sampled_from(AssignmentState), st.sampled_from(LeasePolicy), nodes, st.booleans())
def test_there_is_a_proof_exactly_when_nothing_speaks_against_it(
    state: AssignmentState, policy: LeasePolicy, node: NodeFacts, frozen: bool
) -> None:
    verdict = judge_relocation(state, policy, node, frozen=frozen, now=START)
    in_doubt = state in {AssignmentState.SUSPECT, AssignmentState.REVOKED}
    may_be_judged = in_doubt and node.lost and not node.locked and not frozen
    overdue = node.fence_due_at is not None and node.fence_due_at <= START
    fenced = policy is LeasePolicy.SELF_FENCE and node.watchdog_up and overdue
    assert isinstance(verdict, Proof) == (may_be_judged and (node.powered_off or fenced))
    if verdict is Proof.SELF_FENCED:
        assert fenced


SILENT = NodeFacts(lost=True, locked=False, watchdog_up=True, fence_due_at=START)


@pytest.mark.parametrize(
    ("node", "policy", "frozen", "missing"),
    [
        (NodeFacts(False, False, True, START), LeasePolicy.SELF_FENCE, False, Unproven.NODE_PRESENT),
        (NodeFacts(True, True, True, START), LeasePolicy.SELF_FENCE, False, Unproven.IDENTITY_SHARED),
        (NodeFacts(True, True, True, START, powered_off=True), LeasePolicy.SELF_FENCE, False, Unproven.IDENTITY_SHARED),
        (SILENT, LeasePolicy.SELF_FENCE, True, Unproven.FROZEN),
        (SILENT, LeasePolicy.KEEP_RUNNING, False, Unproven.KEEPS_RUNNING),
        (NodeFacts(True, False, False, START), LeasePolicy.SELF_FENCE, False, Unproven.NO_WATCHDOG),
        (NodeFacts(True, False, True, None), LeasePolicy.SELF_FENCE, False, Unproven.FENCE_PENDING),
    ],
)
def test_what_is_missing_is_named(node: NodeFacts, policy: LeasePolicy, frozen: bool, missing: Unproven) -> None:
    assert judge_relocation(AssignmentState.SUSPECT, policy, node, frozen=frozen, now=START) is missing


@given(st.floats(1, 3600))
def test_the_node_gets_two_percent_and_ten_seconds(fence_seconds: float) -> None:
    wait = (fence_due(START, fence_seconds) - START).total_seconds()
    assert wait == pytest.approx(fence_seconds * 1.02 + 10, abs=1e-5)
