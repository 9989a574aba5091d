"""When a dead process may start again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node_agent.restarts import NO_EXITS, RestartPolicy, Restarts

POLICY = RestartPolicy(settled=30.0, base=5.0, cap=300.0, window=900.0, limit=5)


def test_a_process_that_was_up_for_a_while_restarts_at_once() -> None:
    after = NO_EXITS.after_exit(POLICY, started_at=0.0, now=30.0, jitter=1.0)
    assert after.may_start(30.0)
    assert after.count == 1


def test_short_lives_double_the_delay() -> None:
    restarts, now, delays = NO_EXITS, 1000.0, []
    for _ in range(4):
        restarts = restarts.after_exit(POLICY, started_at=now - 1, now=now, jitter=0.0)
        delays.append(restarts.not_before - now)
        now = restarts.not_before + 1
    assert delays == [5.0, 10.0, 20.0, 40.0]


def test_five_exits_in_the_window_are_a_crash_loop_even_if_each_life_was_long() -> None:
    restarts = NO_EXITS
    for number in range(5):
        assert not restarts.crash_loop(POLICY, number * 60.0)
        restarts = restarts.after_exit(POLICY, started_at=number * 60.0 - 40, now=number * 60.0, jitter=0.0)
    assert restarts.crash_loop(POLICY, 240.0)
    assert restarts.not_before == 240.0 + POLICY.cap
    assert not restarts.crash_loop(POLICY, 240.0 + POLICY.window)


def test_a_request_lifts_the_back_off_and_keeps_the_count() -> None:
    restarts = NO_EXITS.after_exit(POLICY, started_at=0.0, now=1.0, jitter=0.0)
    assert not restarts.may_start(2.0)
    assert restarts.lifted().may_start(2.0)
    assert restarts.lifted().count == 1


@given(
    lives=st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 1000), st.floats(-1, 1)), max_size=30),
)
def test_delays_are_bounded_and_memory_does_not_grow(lives: list[tuple[float, float, float]]) -> None:
    restarts, now = NO_EXITS, 1_000_000.0
    for life, pause, jitter in lives:
        started, now = now, now + life
        restarts = restarts.after_exit(POLICY, started, now, jitter)
        assert now <= restarts.not_before + 1e-6
        assert restarts.not_before <= now + POLICY.cap * 1.2
        assert len(restarts.recent) <= POLICY.limit
        now = max(restarts.not_before, now) + pause
    assert restarts.count == len(lives)


def test_times_that_the_clock_has_not_reached_are_not_waited_for() -> None:
    policy = RestartPolicy(settled=30, base=5, cap=300, window=900, limit=5)
    odd = Restarts(count=7, short_lives=2, recent=(900.0, 5000.0), not_before=9000.0)
    now = odd.plausible(policy, 1000.0)
    assert (now.count, now.recent, now.not_before) == (7, (900.0,), 1360.0)
