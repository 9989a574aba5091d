"""Judgements about nodes as rules: silence, mass loss, continuity, faults, wishes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import ConflictError
from control_plane.fleet.state import (
    LOSS_WINDOW,
    Availability,
    BreakerState,
    Continuity,
    Fall,
    IdentityState,
    NodeState,
    change_availability,
    change_identity,
    judge_breaker,
    judge_continuity,
    judge_faults,
    may_quarantine,
    tolerated_losses,
    worsen,
)
from node_agent.protocol.messages import Reason
from tests.unit.control_plane.world import START


def seconds(*numbers: float) -> list[datetime]:
    return [START + timedelta(seconds=each) for each in numbers]


class TestSilence:
    @given(st.sampled_from(NodeState), st.sampled_from(NodeState))
    def test_only_the_node_itself_makes_its_state_better(self, present: NodeState, judged: NodeState) -> None:
        order = [NodeState.ONLINE, NodeState.SILENT, NodeState.LOST]
        assert order.index(worsen(present, judged)) == max(order.index(present), order.index(judged))


def falls(*numbers: float) -> list[Fall]:
    """Nodes that were seen to fall silent, at these seconds."""
    return [Fall(each, each) for each in seconds(*numbers)]


def spans(*pairs: tuple[float, float]) -> list[Fall]:
    """Nodes that fell silent at some second between two, while nobody listened."""
    return [Fall(*seconds(*pair)) for pair in pairs]


class TestBreaker:
    @pytest.mark.parametrize(("nodes", "most"), [(1, 3), (15, 3), (19, 3), (20, 4), (24, 4), (25, 5), (100, 20)])
    def test_three_nodes_or_a_fifth_of_them_may_fall_at_once(self, nodes: int, most: int) -> None:
        assert tolerated_losses(nodes) == most
        if nodes > most:
            fallen = falls(*range(most + 1))
            assert judge_breaker(fallen, nodes - most - 1, None) is BreakerState.OPEN
            assert judge_breaker(fallen[1:], nodes - most, None) is BreakerState.CLOSED

    def test_at_once_means_within_two_minutes(self) -> None:
        window = LOSS_WINDOW.total_seconds()
        assert judge_breaker(falls(0, 1, 2, window), 1, None) is BreakerState.OPEN
        assert judge_breaker(falls(0, 1, 2, window + 0.001), 1, None) is BreakerState.CLOSED

    def test_who_may_have_fallen_with_the_others_while_nobody_listened_counts_with_them(self) -> None:
        seen = falls(0, 1)
        assert judge_breaker(seen + spans((0, 500), (10, 500)), 1, None) is BreakerState.OPEN
        assert judge_breaker(seen + spans((0, 500), (200, 500)), 1, None) is BreakerState.CLOSED
        assert judge_breaker(spans((0, 500), (100, 500), (200, 500), (300, 500)), 1, None) is BreakerState.OPEN

    def test_what_an_operator_knows_to_be_gone_counts_no_more(self) -> None:
        fallen = falls(0, 1, 2, 3)
        assert judge_breaker(fallen, 1, START + timedelta(seconds=3)) is BreakerState.CLOSED
        assert judge_breaker(fallen + falls(10, 11, 12, 13), 1, START + timedelta(seconds=3)) is BreakerState.OPEN

    def test_who_may_have_fallen_after_the_operator_spoke_still_counts(self) -> None:
        assert judge_breaker(spans(*[(0, 9)] * 4), 1, START + timedelta(seconds=3)) is BreakerState.OPEN

    def test_nodes_that_have_long_been_gone_do_not_make_the_fleet_look_large(self) -> None:
        long_gone = falls(*(1000 * number for number in range(30)))
        now = 1_000_000
        assert judge_breaker(long_gone + falls(now, now + 1, now + 2, now + 3), 2, None) is BreakerState.OPEN

    @given(
        st.lists(st.tuples(st.integers(0, 600), st.just(0) | st.integers(0, 300)), max_size=12),
        st.integers(0, 30),
        st.none() | st.integers(0, 600),
    )
    def test_as_counted_window_by_window(self, fallen: list[tuple[int, int]], heard: int, lifted: int | None) -> None:
        pairs = [(first, first + length) for first, length in fallen]
        counted = [(first, last) for first, last in pairs if lifted is None or last > lifted]
        expected = any(
            sum(first <= start + 120 and last >= start for first, last in counted)
            > tolerated_losses(heard + sum(last >= start for _, last in counted))
            for start in range(901)
        )
        moment = None if lifted is None else seconds(lifted)[0]
        assert (judge_breaker(spans(*pairs), heard, moment) is BreakerState.OPEN) == expected


class Life:
    """A node, as far as continuity goes."""

    def __init__(self, token: str) -> None:
        self.token = token


class Memory:
    """The control plane, as far as continuity goes."""

    def __init__(self) -> None:
        self.known = Continuity()
        self._numbers: Iterator[int] = count(1)

    def sync(self, life: Life, *, answered: bool = True) -> bool:
        """False: locked. An answer that never arrives is not `answered`."""
        judged = judge_continuity(self.known, life.token, speaks=True)
        if judged is None:
            return False
        self.known = Continuity(f"token-{next(self._numbers)}", judged.acknowledged)
        if answered:
            life.token = str(self.known.newest)
        return True


class TestContinuity:
    @given(st.lists(st.booleans(), max_size=20))
    def test_one_life_is_never_locked_whatever_answers_get_lost(self, answers: list[bool]) -> None:
        memory, life = Memory(), Life("")
        for answered in answers:
            assert memory.sync(life, answered=answered)

    @given(st.lists(st.booleans(), max_size=6), st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12))
    def test_two_lives_are_told_apart_when_the_first_comes_back_after_the_second(
        self, before: list[bool], turns: list[tuple[bool, bool]]
    ) -> None:
        memory, first = Memory(), Life("")
        for answered in [*before, True]:
            memory.sync(first, answered=answered)
        second = Life(first.token)
        lives = [(first, True), (second, True), (first, True)]
        lives = [(first if turn else second, answered) for turn, answered in turns] + lives
        outcomes = [memory.sync(life, answered=answered) for life, answered in lives]
        assert not all(outcomes)

    def test_after_an_unlock_whoever_comes_next_is_believed(self) -> None:
        judged = judge_continuity(Continuity(newest=None), "whatever", speaks=True)
        assert judged == Continuity("whatever", "whatever")

    def test_an_agent_that_shows_none_erases_what_was_known_so_that_a_copy_is_found(self) -> None:
        forgotten = judge_continuity(Continuity("new", "old"), "", speaks=False)
        assert forgotten == Continuity()
        assert judge_continuity(forgotten, "new", speaks=True) is None


class TestWishes:
    @given(st.sampled_from(Availability))
    def test_every_node_can_be_opened_again(self, present: Availability) -> None:
        assert change_availability(present, Availability.OPEN) is Availability.OPEN

    @given(st.sampled_from([Availability.CORDONED, Availability.DRAINING]))
    def test_a_person_who_is_at_work_on_a_node_is_not_overruled(self, present: Availability) -> None:
        with pytest.raises(ConflictError):
            change_availability(present, Availability.QUARANTINED)

    @given(st.sampled_from([IdentityState.TRUSTED, IdentityState.LOCKED]))
    def test_a_revoked_identity_never_comes_back(self, wanted: IdentityState) -> None:
        with pytest.raises(ConflictError):
            change_identity(IdentityState.REVOKED, wanted)


class TestFaults:
    @pytest.mark.parametrize(
        ("broken", "fine", "judged"), [(3, 3, True), (3, 4, False), (2, 0, False), (3, 0, True), (10, 10, True)]
    )
    def test_at_least_three_and_half_of_the_terminals_must_suffer(self, broken: int, fine: int, judged: bool) -> None:
        reasons = [Reason.DISK_FULL] * broken + [None] * fine
        assert (judge_faults(reasons) is Reason.DISK_FULL) == judged

    @given(st.lists(st.sampled_from([each for each in Reason if each not in {"disk_full", "template_broken"}])))
    def test_what_is_not_the_machines_fault_is_not_blamed_on_it(self, reasons: list[Reason]) -> None:
        assert judge_faults(reasons) is None

    @pytest.mark.parametrize(("nodes", "most"), [(1, 1), (9, 1), (10, 2), (50, 10)])
    def test_only_a_fifth_of_the_fleet_is_put_aside_without_a_person(self, nodes: int, most: int) -> None:
        assert may_quarantine(most - 1, nodes)
        assert not may_quarantine(most, nodes)
