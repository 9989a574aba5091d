"""The tables of allowed transitions, and what follows from them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.assignments.state import AssignmentState, change
from control_plane.assignments.state import may_become as assignment_may_become
from control_plane.errors import ConflictError
from control_plane.fleet.state import NodeState, judge_silence
from control_plane.terminals.explanation import TerminalFacts, explain
from control_plane.terminals.state import Hold, Intent, change_intent, should_run
from control_plane.trading.state import SETTLED, UNSETTLED, OrderState, may_become
from node_agent.protocol.messages import Phase, Reason
from tests.unit.control_plane.world import START


@given(st.sampled_from(OrderState), st.sampled_from(OrderState))
def test_a_settled_order_never_changes_and_an_open_one_only_goes_forward(first: OrderState, then: OrderState) -> None:
    order = [OrderState.PENDING, OrderState.SENT, OrderState.UNKNOWN]
    if first in SETTLED:
        assert not may_become(first, then)
    elif then in UNSETTLED:
        assert may_become(first, then) == (order.index(then) > order.index(first))
    else:
        assert may_become(first, then)


@given(st.sampled_from(Intent), st.sampled_from(Intent))
def test_a_deleted_terminal_stays_deleted(present: Intent, wanted: Intent) -> None:
    if present is Intent.DELETED and wanted is not present:
        with pytest.raises(ConflictError):
            change_intent(present, wanted)
    else:
        assert change_intent(present, wanted) is wanted


@given(st.sampled_from(Intent), st.sampled_from(Hold))
def test_a_terminal_runs_only_when_it_is_wanted_and_nothing_holds_it(intent: Intent, hold: Hold) -> None:
    assert should_run(intent, hold) == (intent is Intent.RUNNING and hold is Hold.NONE)


@given(st.sampled_from(AssignmentState), st.sampled_from(AssignmentState))
def test_an_assignment_never_comes_back_from_release_or_revocation(
    present: AssignmentState, wanted: AssignmentState
) -> None:
    if present is AssignmentState.RELEASED:
        assert not assignment_may_become(present, wanted)
    if wanted is AssignmentState.ACTIVE:
        assert assignment_may_become(present, wanted) == (
            present in {AssignmentState.RESERVED, AssignmentState.SUSPECT}
        )
    if wanted is AssignmentState.FENCED and present in {AssignmentState.RESERVED, AssignmentState.ACTIVE}:
        with pytest.raises(ConflictError):
            change(present, wanted)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_silence_counts_only_while_somebody_listened(silent: int, listened: int) -> None:
    state = judge_silence(
        START - timedelta(seconds=silent),
        START - timedelta(seconds=listened),
        START,
        timedelta(seconds=45),
        timedelta(seconds=300),
    )
    heard = min(silent, listened)
    assert state is (NodeState.LOST if heard > 300 else NodeState.SILENT if heard > 45 else NodeState.ONLINE)


@given(
    st.builds(
        TerminalFacts,
        intent=st.sampled_from(Intent),
        hold=st.sampled_from(Hold),
        assigned=st.booleans(),
        phase=st.sampled_from(Phase),
        reason=st.none() | st.sampled_from(Reason),
        node_answers=st.booleans(),
        placement_note=st.just("Waiting for capacity: all nodes are full."),
        moving=st.booleans(),
        fences=st.booleans(),
    )
)
def test_every_state_has_words(facts: TerminalFacts) -> None:
    words = explain(facts)
    assert words.endswith(".")
    assert "_" not in words
