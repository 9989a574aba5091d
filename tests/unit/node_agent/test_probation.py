"""After a start of the machine, what lies on the disk is no reason to start a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from mt5_bridge.lease import Moment
from node_agent.database import Database
from node_agent.probation import Probation
from node_agent.protocol.messages import DesiredSnapshot
from node_agent.state import StateStore

LEASE = 45.0
EMPTY = DesiredSnapshot(generation=3, terminals=[])


def at(elapsed: float) -> Moment:
    return Moment("second-start", elapsed, 1_700_000_000 + elapsed)


@pytest.fixture
def state(tmp_path: Path) -> StateStore:
    return StateStore(Database(tmp_path / "agent.sqlite3"))


def test_a_node_that_was_heard_in_this_start_acts_at_once() -> None:
    assert Probation(needed=False).is_over(at(10), LEASE)


def test_after_another_start_the_first_answer_is_not_enough() -> None:
    probation = Probation(needed=True)
    assert not probation.is_over(at(10), LEASE)
    assert not probation.is_over(at(10 + LEASE - 1), LEASE)
    assert probation.is_over(at(10 + LEASE), LEASE)
    assert probation.is_over(at(11 + LEASE), LEASE)


def test_a_snapshot_of_another_start_is_no_wish(state: StateStore) -> None:
    state.save_snapshot(EMPTY, "first-start")
    assert state.snapshot("first-start") == EMPTY
    assert not state.used_in_other_start("first-start")
    assert state.snapshot("second-start") is None
    assert state.used_in_other_start("second-start")


def test_a_disk_that_was_never_used_needs_no_probation(state: StateStore) -> None:
    assert not state.used_in_other_start("first-start")


def test_where_starts_have_no_name_the_snapshot_counts(state: StateStore) -> None:
    state.save_snapshot(EMPTY, "")
    assert state.snapshot("") == EMPTY
    assert not state.used_in_other_start("")
