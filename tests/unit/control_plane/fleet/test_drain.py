"""The plan of a drain as rules."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from control_plane.fleet.drain import MOST_LEAVING, Occupant, Step, plan_drain
from tests.unit.control_plane.world import START

occupants = st.lists(
    st.builds(
        Occupant,
        terminal_id=st.uuids().map(str),
        idle=st.booleans(),
        leaving=st.booleans(),
        suspect=st.booleans(),
        has_room=st.booleans(),
    ),
    unique_by=lambda each: each.terminal_id,
    max_size=15,
)
deadlines = st.sampled_from([START - timedelta(seconds=1), START, START + timedelta(seconds=1)])


@given(occupants, deadlines)
def test_nobody_leaves_without_room_or_confirmation_or_before_being_flat(
    each_there: list[Occupant], deadline: datetime
) -> None:
    steps = plan_drain(each_there, START, deadline)
    assert steps.keys() == {each.terminal_id for each in each_there}
    for each in each_there:
        if steps[each.terminal_id] is Step.NEXT:
            assert each.has_room
            assert not each.suspect
            assert each.idle or deadline <= START


@given(occupants, deadlines)
def test_few_leave_at_a_time_and_idle_ones_first(each_there: list[Occupant], deadline: datetime) -> None:
    steps = plan_drain(each_there, START, deadline)
    leaving = [each for each in each_there if steps[each.terminal_id] is Step.LEAVING]
    chosen = [each for each in each_there if steps[each.terminal_id] is Step.NEXT]
    queued = [each for each in each_there if steps[each.terminal_id] is Step.QUEUED]
    assert len(leaving) + len(chosen) <= max(MOST_LEAVING, len(leaving))
    if queued:
        assert len(leaving) + len(chosen) >= MOST_LEAVING
    if any(not each.idle for each in chosen):
        assert all(not each.idle for each in queued)


@given(occupants, deadlines)
def test_everybody_who_may_leave_does_in_the_end(each_there: list[Occupant], deadline: datetime) -> None:
    """Round after round, with those gone who were leaving."""
    left = list(each_there)
    while True:
        steps = plan_drain(left, START, deadline)
        gone = {terminal_id for terminal_id, step in steps.items() if step in {Step.LEAVING, Step.NEXT}}
        if not gone:
            break
        left = [each for each in left if each.terminal_id not in gone]
    stuck = {Step.WAITS_UNTIL_FLAT, Step.NO_ROOM, Step.SUSPECT}
    assert set(plan_drain(left, START, deadline).values()) <= stuck
