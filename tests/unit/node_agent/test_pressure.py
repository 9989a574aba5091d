"""What a node is short of, and which terminal gives some of it back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.pressure import Reserves, Shortage, judge_headroom
from node_agent.protocol.messages import Reason
from node_agent.quarantine import NO_STRIKES, STRIKES
from node_agent.recycling import Candidate, Growth, RecyclePolicy, choose
from node_agent.resources import Resources

GB = 1024**3
ROOMY = Resources(cpu_count=2, load_1m=0.1, memory_total=10 * GB, memory_available=5 * GB, disk_free=50 * GB)
RESERVES = Reserves(memory_share=0.1, memory=GB // 4, disk=GB, clock=2.0)
POLICY = RecyclePolicy()
NOW = 10_000.0


def short(offset: float | None = 0.0, before: frozenset[Shortage] = frozenset(), **changes: Any) -> set[str]:
    return set(judge_headroom(replace(ROOMY, **changes), offset, before, RESERVES).short_of)


class TestPressure:
    def test_there_is_none_on_a_roomy_node(self) -> None:
        assert short() == set()

    @pytest.mark.parametrize(
        ("changes", "what"),
        [({"memory_available": GB - 1}, "memory"), ({"disk_free": GB - 1}, "disk"), ({"offset": -2.1}, "clock")],
    )
    def test_each_shortage_is_told(self, changes: dict[str, Any], what: str) -> None:
        assert short(**changes) == {what}

    def test_a_small_machine_keeps_a_least_amount(self) -> None:
        assert short(memory_total=GB, memory_available=GB // 5) == {"memory"}

    def test_an_unknown_clock_is_no_shortage(self) -> None:
        assert short(offset=None) == set()

    def test_it_is_over_only_with_something_to_spare(self) -> None:
        assert short(before=frozenset({"memory"}), memory_available=int(1.2 * GB)) == {"memory"}
        assert short(before=frozenset({"memory"}), memory_available=int(1.3 * GB)) == set()


def grown(number: int, baseline: int, now: int) -> Growth:
    return Growth(f"ter_{number}", number, NOW - 5000, baseline, now)


def candidate(number: int = 1, memory: int = GB, flat: bool | None = True, at: float | None = None) -> Candidate:
    return Candidate(grown(number, GB // 4, memory), flat, at)


def chosen(*candidates: Candidate, short_of_memory: bool = True) -> str | None:
    return choose(candidates, short_of_memory=short_of_memory, now=NOW, policy=POLICY)


class TestRecycling:
    def test_the_largest_flat_grown_one(self) -> None:
        assert chosen(candidate(1), candidate(2, 2 * GB - 1), candidate(3, 3 * GB, flat=False)) == "ter_2"

    @pytest.mark.parametrize("flat", [False, None])
    def test_never_one_that_is_not_known_to_be_flat(self, flat: bool | None) -> None:
        assert chosen(candidate(flat=flat, memory=8 * GB)) is None

    def test_one_that_has_not_grown_has_nothing_to_give(self) -> None:
        assert chosen(Candidate(grown(1, GB, int(1.4 * GB)), True, None)) is None
        assert chosen(Candidate(grown(1, 10**6, 10**8), True, None)) is None

    def test_without_pressure_only_above_the_ceiling(self) -> None:
        assert chosen(candidate(), short_of_memory=False) is None
        assert chosen(candidate(memory=2 * GB + 1), short_of_memory=False) == "ter_1"

    def test_one_at_a_time_and_each_seldom(self) -> None:
        assert chosen(candidate(1), candidate(2, at=NOW - 30)) is None
        assert chosen(candidate(1, at=NOW - 600)) is None
        assert chosen(candidate(1), candidate(2, 2 * GB - 1, at=NOW - 600)) == "ter_1"
        assert chosen(candidate(1, at=NOW - 4000)) == "ter_1"

    @given(st.lists(st.tuples(st.floats(0, 3000), st.integers(1, 8 * GB)), min_size=1))
    def test_what_it_takes_while_young_is_no_growth(self, readings: list[tuple[float, int]]) -> None:
        growth = Growth("ter_1", 1, 0.0, 0, 0)
        for at, memory in sorted(readings):
            growth = growth.read_again(memory, at, POLICY)
            assert growth.now == memory
            if at < POLICY.young:
                assert not growth.has_grown(POLICY)


class TestQuarantine:
    def test_faults_in_a_row_end_the_trying(self) -> None:
        strikes = NO_STRIKES
        for _ in range(STRIKES[Reason.TEMPLATE_BROKEN]):
            assert strikes.verdict("w") is None
            strikes = strikes.after(Reason.TEMPLATE_BROKEN, "w")
        assert strikes.verdict("w") is Reason.TEMPLATE_BROKEN

    def test_another_wish_begins_with_a_clean_sheet(self) -> None:
        strikes = NO_STRIKES.after(Reason.LIVE_UPDATE, "w").after(Reason.LIVE_UPDATE, "w")
        assert strikes.verdict("w") is Reason.LIVE_UPDATE
        assert strikes.verdict("other") is None
        assert strikes.after(Reason.LIVE_UPDATE, "other").verdict("other") is None

    @pytest.mark.parametrize("reason", sorted(set(Reason) - set(STRIKES)))
    def test_what_may_mend_itself_is_tried_again_and_again(self, reason: Reason) -> None:
        strikes = NO_STRIKES
        for _ in range(50):
            strikes = strikes.after(reason, "w")
        assert strikes.verdict("w") is None
