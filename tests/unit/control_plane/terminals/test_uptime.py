"""Uptime is counted from marks; a count second by second must come to the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.terminals.state import Hold, Intent
from control_plane.terminals.uptime import (
    ANSWER_COUNTS,
    Mark,
    MarkKind,
    Present,
    Service,
    judge_service,
    measure,
    spans,
)
from node_agent.protocol.messages import Phase, Reason

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LENGTH = 120
RECORDED = (Service.UP, Service.DOWN, Service.UNKNOWN)
VALUES: dict[MarkKind, tuple[str, ...]] = {
    MarkKind.SERVICE: RECORDED,
    MarkKind.INTENT: tuple(Intent),
    MarkKind.HOLD: tuple(Hold),
}


def second(number: int) -> datetime:
    return START + timedelta(seconds=number)


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[MarkKind, list[tuple[int, str]]], dict[MarkKind, str]]:
    """What each thing was first, and what it became at which second; some of it before and after what is looked at."""
    first: dict[MarkKind, str] = {kind: draw(st.sampled_from(values)) for kind, values in VALUES.items()}
    changes: dict[MarkKind, list[tuple[int, str]]] = {
        kind: sorted(
            draw(st.lists(st.tuples(st.integers(-20, LENGTH), st.sampled_from(values)), max_size=6)),
            key=lambda change: change[0],
        )
        for kind, values in VALUES.items()
    }
    return changes, first


def at(changes: list[tuple[int, str]], first: str, moment: int) -> str:
    """The value in force at a second: the newest change that is not later."""
    return next((value for when, value in reversed(changes) if when <= moment), first)


def marks_of(changes: dict[MarkKind, list[tuple[int, str]]], first: dict[MarkKind, str]) -> list[Mark]:
    marks = []
    for kind, known in changes.items():
        before = first[kind]
        for when, value in known:
            marks.append(Mark(second(when), kind, before))
            before = value
    return sorted(marks, key=lambda mark: mark.at)


@given(histories(), st.lists(st.integers(0, LENGTH), max_size=6))
@settings(deadline=None)
def test_it_is_what_a_count_second_by_second_gives(
    history: tuple[dict[MarkKind, list[tuple[int, str]]], dict[MarkKind, str]], borders: list[int]
) -> None:
    changes, first = history
    borders = sorted(set(borders))
    intervals = [(second(one), second(two)) for one, two in zip(borders[::2], borders[1::2], strict=False)]
    counted = dict.fromkeys(Service, 0)
    for moment in range(LENGTH):
        if any(start <= second(moment) < end for start, end in intervals):
            wanted = at(changes[MarkKind.INTENT], first[MarkKind.INTENT], moment) == Intent.RUNNING
            free = at(changes[MarkKind.HOLD], first[MarkKind.HOLD], moment) == Hold.NONE
            service = Service(at(changes[MarkKind.SERVICE], first[MarkKind.SERVICE], moment))
            counted[service if wanted and free else Service.OFF] += 1
    last = {kind: at(changes[kind], first[kind], LENGTH) for kind in MarkKind}
    present = Present(Service(last[MarkKind.SERVICE]), Intent(last[MarkKind.INTENT]), Hold(last[MarkKind.HOLD]))
    seen = [mark for mark in marks_of(changes, first) if mark.at >= START]
    life = spans(seen, present, START, second(LENGTH))
    found = measure(life, intervals)
    assert [found.up, found.down, found.unknown, found.off] == [
        timedelta(seconds=counted[each]) for each in (Service.UP, Service.DOWN, Service.UNKNOWN, Service.OFF)
    ]
    assert (life[0].start, life[-1].end) == (START, second(LENGTH))
    assert all(one.end == two.start for one, two in pairwise(life))


def test_what_nobody_watched_counts_neither_for_nor_against() -> None:
    present = Present(Service.UP, Intent.RUNNING, Hold.NONE)
    marks = [Mark(second(10), MarkKind.SERVICE, Service.UP), Mark(second(110), MarkKind.SERVICE, Service.UNKNOWN)]
    found = measure(spans(marks, present, START, second(120)), [(START, second(120))])
    assert (found.share, found.unknown) == (1.0, timedelta(seconds=100))


def test_without_any_watched_time_there_is_no_share() -> None:
    stopped = Present(Service.DOWN, Intent.STOPPED, Hold.NONE)
    assert measure(spans([], stopped, START, second(60)), [(START, second(60))]).share is None


@given(
    st.sampled_from(Phase),
    st.none() | st.sampled_from(Reason),
    st.none() | st.integers(-5, 300).map(lambda age: timedelta(seconds=age)),
)
def test_a_phase_alone_is_no_service(phase: Phase, reason: Reason | None, age: timedelta | None) -> None:
    service = judge_service(phase, reason, age)
    if age is None or age > ANSWER_COUNTS or phase not in {Phase.READY, Phase.DEGRADED}:
        assert service is Service.DOWN
    if phase is Phase.READY and age is not None and age <= ANSWER_COUNTS:
        assert service is Service.UP
    if phase is Phase.DEGRADED and reason in {Reason.BROKER_UNREACHABLE, Reason.IPC_TIMEOUT, Reason.WRONG_ACCOUNT}:
        assert service is Service.DOWN
